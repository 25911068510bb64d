"""Audiobox Aesthetics: ratings of audio quality. Imported by every command, so it does not import torch."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from prismaudio import Component, hookimpl


@hookimpl
def prismaudio_rewards() -> Iterable[Component]:
    """The aesthetic reward of the paper."""
    return [
        Component(
            "prismaudio_audiobox.reward:AudioboxReward",
            "Enjoyment, usefulness, simplicity and production quality, by Audiobox Aesthetics.",
            "aesthetic",
        )
    ]


@hookimpl
def prismaudio_metrics() -> Iterable[Component]:
    """The aesthetic metrics of the paper."""
    metric = "prismaudio_audiobox.metric:Audiobox"
    return [
        Component(
            f"{metric}Aesthetics",
            "Mean of one axis of Audiobox Aesthetics: PQ, or CE, CU, PC by argument.",
            "aesthetic",
        ),
        Component(f"{metric}Enjoyment", "Mean content enjoyment, CE of Audiobox Aesthetics.", "aesthetic"),
        Component(f"{metric}Usefulness", "Mean content usefulness, CU of Audiobox Aesthetics.", "aesthetic"),
        Component(f"{metric}Complexity", "Mean production complexity, PC of Audiobox Aesthetics.", "aesthetic"),
    ]


@hookimpl
def prismaudio_recipes() -> Iterable[Path]:
    """A small test recipe."""
    return [Path(__file__).with_name("recipes")]
