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
    """The aesthetic metric of the paper."""
    return [
        Component(
            "prismaudio_audiobox.metric:AudioboxAesthetics",
            "Mean of one axis of Audiobox Aesthetics: CE, CU, PC or PQ.",
            "aesthetic",
        )
    ]


@hookimpl
def prismaudio_recipes() -> Iterable[Path]:
    """A small test recipe."""
    return [Path(__file__).with_name("recipes")]
