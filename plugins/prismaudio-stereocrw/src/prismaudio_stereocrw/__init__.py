"""StereoCRW: interaural time differences by a network. Imported by every command, so it does not import torch."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from prismaudio import Component, hookimpl


@hookimpl
def prismaudio_rewards() -> Iterable[Component]:
    """The spatial reward of the paper."""
    return [
        Component(
            "prismaudio_stereocrw.reward:StereoCrwReward",
            "Negative squared error of time differences against the reference, by StereoCRW and GCC-PHAT.",
            "spatial",
        )
    ]


@hookimpl
def prismaudio_metrics() -> Iterable[Component]:
    """The spatial metric of the paper."""
    return [
        Component(
            "prismaudio_stereocrw.metric:CrwMse",
            "Squared error of the time difference by StereoCRW, in ms² × 1000.",
            "spatial",
        )
    ]


@hookimpl
def prismaudio_recipes() -> Iterable[Path]:
    """A small test recipe."""
    return [Path(__file__).with_name("recipes")]
