"""VideoPrism as the encoder of the video stream. Every command imports this module, so it imports no torch."""

from __future__ import annotations

from pathlib import Path

from prismaudio import Component, Stream, hookimpl


@hookimpl
def prismaudio_encoders() -> list[Component]:
    """The encoder."""
    summary = "Video: frame embeddings of VideoPrism, four a second."
    return [Component("prismaudio_videoprism.encoder:VideoPrismEncoder", summary, stream=Stream("video", 1024, 4.0))]


@hookimpl
def prismaudio_recipes() -> list[Path]:
    """The recipes."""
    return [Path(__file__).with_name("recipes")]
