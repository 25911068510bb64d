"""Synchformer: audio-visual synchronization. Imported by every command, so it does not import torch."""

from __future__ import annotations

from pathlib import Path

from prismaudio import Component, Stream, hookimpl


@hookimpl
def prismaudio_rewards() -> list[Component]:
    """The reward."""
    summary = "Audio-visual synchronization by Synchformer."
    return [Component("prismaudio_synchformer.reward:SynchformerReward", summary, "temporal")]


@hookimpl
def prismaudio_metrics() -> list[Component]:
    """The metric."""
    return [Component("prismaudio_synchformer.metric:DeSync", "Audio-visual offset in seconds.", "temporal")]


@hookimpl
def prismaudio_encoders() -> list[Component]:
    """The encoder."""
    summary = "Synchformer's visual features, which encode motion; 8 features for each third of a second."
    stream = Stream("sync", 768, 25.0)
    return [Component("prismaudio_synchformer.encoder:SynchformerEncoder", summary, "temporal", stream)]


@hookimpl
def prismaudio_recipes() -> list[Path]:
    """The recipes."""
    return [Path(__file__).with_name("recipes")]
