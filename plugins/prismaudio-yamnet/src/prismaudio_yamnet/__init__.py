"""YAMNet: a classifier of 521 AudioSet classes. Imported by every command, so it does not import torch."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from prismaudio import Component, hookimpl


@hookimpl
def prismaudio_rewards() -> Iterable[Component]:
    """A semantic reward."""
    return [
        Component(
            "prismaudio_yamnet.reward:YamnetReward",
            "Whether YAMNet detects the sources that the plan names.",
            "semantic",
        )
    ]


@hookimpl
def prismaudio_metrics() -> Iterable[Component]:
    """Distances of distributions, and what is heard."""
    return [
        Component(
            "prismaudio_yamnet.metrics:YamnetFrechetDistance",
            "FD between YAMNet embeddings of generated and reference audio.",
        ),
        Component(
            "prismaudio_yamnet.metrics:YamnetKernelDistance",
            "KAD between YAMNet embeddings of generated and reference audio.",
        ),
        Component(
            "prismaudio_yamnet.metrics:YamnetKlDivergence",
            "KL between YAMNet classes of reference and generated audio.",
        ),
        Component("prismaudio_yamnet.metrics:YamnetInceptionScore", "IS of YAMNet classes."),
        Component(
            "prismaudio_yamnet.metrics:YamnetProbability",
            "Highest probability of AudioSet classes, such as speech and singing.",
            "semantic",
        ),
    ]


@hookimpl
def prismaudio_recipes() -> Iterable[Path]:
    """A small test recipe."""
    return [Path(__file__).with_name("recipes")]
