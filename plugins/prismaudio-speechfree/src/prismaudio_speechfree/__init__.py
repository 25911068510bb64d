"""A dimension of its own: is anybody heard to speak? Imported by every command, so it imports no torch."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from prismaudio import Component, Dimension, hookimpl


@hookimpl
def prismaudio_dimensions() -> Iterable[Dimension]:
    """Whether anybody speaks."""
    return [Dimension("speechfree", "Does anybody speak, and when?", default_section="Nobody speaks.")]


@hookimpl
def prismaudio_rewards() -> Iterable[Component]:
    """How free of speech a sound is."""
    return [
        Component(
            "prismaudio_speechfree.reward:SpeechFreeReward",
            "Nobody is heard to speak where the plan has nobody speaking.",
            "speechfree",
        )
    ]


@hookimpl
def prismaudio_metrics() -> Iterable[Component]:
    """How many sounds are free of speech."""
    return [
        Component(
            "prismaudio_speechfree.metric:SpeechFreeShare", "Clips in which nobody speaks unplanned.", "speechfree"
        )
    ]


@hookimpl
def prismaudio_recipes() -> Iterable[Path]:
    """A recipe that listens for speech."""
    return [Path(__file__).with_name("recipes")]
