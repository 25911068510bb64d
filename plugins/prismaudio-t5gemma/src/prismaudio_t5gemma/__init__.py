"""T5-Gemma as the encoder of the text stream. Every command imports this module, so it imports no torch."""

from __future__ import annotations

from pathlib import Path

from prismaudio import Component, Stream, hookimpl


@hookimpl
def prismaudio_encoders() -> list[Component]:
    """The encoder."""
    summary = "Text: last hidden state of the encoder of T5-Gemma, or of a T5."
    return [Component("prismaudio_t5gemma.encoder:T5GemmaEncoder", summary, stream=Stream("text", 1024))]


@hookimpl
def prismaudio_recipes() -> list[Path]:
    """The recipes."""
    return [Path(__file__).with_name("recipes")]
