"""MS-CLAP 2023 as the semantic reward. Imported by every command, so it does not import torch."""

from __future__ import annotations

from pathlib import Path

from prismaudio import Component, hookimpl


@hookimpl
def prismaudio_rewards() -> list[Component]:
    """The reward."""
    return [
        Component(
            "prismaudio_msclap.reward:MsClapReward", "Cosine similarity of audio and plan by MS-CLAP.", "semantic"
        )
    ]


@hookimpl
def prismaudio_recipes() -> list[Path]:
    """A small test recipe."""
    return [Path(__file__).with_name("recipes")]
