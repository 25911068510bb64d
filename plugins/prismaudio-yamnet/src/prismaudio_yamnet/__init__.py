"""YAMNet: which of 521 kinds of sound are heard; imported by every command, so it imports no torch."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from prismaudio import Component, hookimpl


@hookimpl
def prismaudio_rewards() -> Iterable[Component]:
    """A semantic reward."""
    return [
        Component(
            "prismaudio_yamnet.reward:YamnetReward", "Whether YAMNet hears the things that the plan names.", "semantic"
        )
    ]


@hookimpl
def prismaudio_metrics() -> Iterable[Component]:
    """Distances of distributions."""
    return [
        Component(
            "prismaudio_yamnet.metrics:YamnetFrechetDistance", "FD of YAMNet's embeddings from those of references."
        ),
        Component("prismaudio_yamnet.metrics:YamnetKlDivergence", "KL of YAMNet's classes from those of references."),
        Component("prismaudio_yamnet.metrics:YamnetInceptionScore", "IS by YAMNet's classes."),
    ]


@hookimpl
def prismaudio_recipes() -> Iterable[Path]:
    """A recipe in miniature."""
    return [Path(__file__).with_name("recipes")]
