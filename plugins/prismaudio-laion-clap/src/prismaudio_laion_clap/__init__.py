"""LAION-CLAP as reward and metric. Imported by every command, so it does not import torch."""

from __future__ import annotations

from pathlib import Path

from prismaudio import Component, hookimpl


@hookimpl
def prismaudio_rewards() -> list[Component]:
    """The reward."""
    target = "prismaudio_laion_clap.reward:LaionClapReward"
    return [Component(target, "Cosine similarity of audio and plan by LAION-CLAP.", "semantic")]


@hookimpl
def prismaudio_metrics() -> list[Component]:
    """The metrics."""
    return [
        Component(
            "prismaudio_laion_clap.metric:ClapScore",
            "CLAP score: mean cosine similarity of audio and plan.",
            "semantic",
        ),
        Component(
            "prismaudio_laion_clap.metric:SegmentClapScore",
            "CLAP score of each planned event and the name of its source.",
            "semantic",
        ),
    ]


@hookimpl
def prismaudio_recipes() -> list[Path]:
    """A small test recipe."""
    return [Path(__file__).with_name("recipes")]
