"""MS-CLAP 2023 as PrismAudio's semantic reward; this module is what every command imports, so it imports no torch."""

from __future__ import annotations

from pathlib import Path

from prismaudio import Component, hookimpl


@hookimpl
def prismaudio_rewards() -> list[Component]:
    """The reward."""
    return [Component("prismaudio_msclap.reward:MsClapReward", "Cosine of sound and plan by MS-CLAP.", "semantic")]


@hookimpl
def prismaudio_recipes() -> list[Path]:
    """A recipe in miniature."""
    return [Path(__file__).with_name("recipes")]
