"""Planners that ask vision-language models. Every command imports this module, so it imports no torch."""

from __future__ import annotations

from pathlib import Path

from prismaudio import Command, Component, hookimpl


@hookimpl
def prismaudio_planners() -> list[Component]:
    """The planners."""
    local, reading, remote = (
        "Asks a vision-language model of transformers, and can be fine-tuned.",
        "Asks a language model that reads what another part saw, and can be fine-tuned.",
        "Asks a model behind an OpenAI-compatible endpoint.",
    )
    return [
        Component("prismaudio_vlm.local_planners:VlmPlanner", local),
        Component("prismaudio_vlm.local_planners:LlmPlanner", reading),
        Component("prismaudio_vlm.api_chat:ApiPlanner", remote),
    ]


@hookimpl
def prismaudio_commands() -> list[Command]:
    """The command that copies the prompts."""
    return [Command("prompts", "prismaudio_vlm.cli:main", "copy what language models are told about plans")]


@hookimpl
def prismaudio_recipes() -> list[Path]:
    """The recipes of CoT fine-tuning."""
    return [Path(__file__).with_name("recipes")]
