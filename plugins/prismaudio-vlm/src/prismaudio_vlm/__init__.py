"""Planners that ask vision-language models. Every command imports this module, so it imports no torch."""

from __future__ import annotations

from prismaudio import Component, hookimpl


@hookimpl
def prismaudio_planners() -> list[Component]:
    """The planners."""
    return [
        Component("prismaudio_vlm.planner:VlmPlanner", "Asks a vision-language model of transformers about the video."),
        Component("prismaudio_vlm.planner:ApiPlanner", "Asks a model behind an OpenAI-compatible endpoint."),
    ]
