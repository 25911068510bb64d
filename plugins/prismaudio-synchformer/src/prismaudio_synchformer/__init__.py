"""Synchformer: whether sound and frames are in time. Every command imports this module, so it imports no torch."""

from __future__ import annotations

from pathlib import Path

from prismaudio import Component, Stream, hookimpl


@hookimpl
def prismaudio_rewards() -> list[Component]:
    """The reward."""
    summary = "How well sound and frames are in time, as Synchformer hears and sees them."
    return [Component("prismaudio_synchformer.reward:SynchformerReward", summary, "temporal")]


@hookimpl
def prismaudio_metrics() -> list[Component]:
    """The metric."""
    return [Component("prismaudio_synchformer.metric:DeSync", "Seconds by which sound is out of time.", "temporal")]


@hookimpl
def prismaudio_encoders() -> list[Component]:
    """The encoder."""
    summary = "When things move, as Synchformer sees it; 8 features for each third of a second."
    stream = Stream("sync", 768, 25.0)
    return [Component("prismaudio_synchformer.encoder:SynchformerEncoder", summary, "temporal", stream)]


@hookimpl
def prismaudio_recipes() -> list[Path]:
    """The recipes."""
    return [Path(__file__).with_name("recipes")]
