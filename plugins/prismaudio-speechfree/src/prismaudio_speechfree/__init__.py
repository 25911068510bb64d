"""A dimension for unplanned speech. Imported by every command, so it does not import torch."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from prismaudio import Component, Dimension, hookimpl


@hookimpl
def prismaudio_dimensions() -> Iterable[Dimension]:
    """The dimension of speech."""
    prompt = Path(__file__).with_name("prompt.yaml")
    return [Dimension("speechfree", "Does anybody speak, and when?", "Nobody speaks.", prompt)]


@hookimpl
def prismaudio_rewards() -> Iterable[Component]:
    """The reward for audio without unplanned speech."""
    return [
        Component(
            "prismaudio_speechfree.reward:SpeechFreeReward",
            "One minus the probability of speech where the plan has none.",
            "speechfree",
        )
    ]


@hookimpl
def prismaudio_metrics() -> Iterable[Component]:
    """The share of clips without unplanned speech."""
    return [
        Component(
            "prismaudio_speechfree.metric:SpeechFreeShare", "Share of clips without unplanned speech.", "speechfree"
        )
    ]


@hookimpl
def prismaudio_gates() -> Iterable[Component]:
    """The gate for speech that is not heard."""
    return [
        Component(
            "prismaudio_speechfree.gate:SpeechClaimGate", "Planned speech is heard by the detector.", "speechfree"
        )
    ]


@hookimpl
def prismaudio_recipes() -> Iterable[Path]:
    """A recipe with the speech reward."""
    return [Path(__file__).with_name("recipes")]
