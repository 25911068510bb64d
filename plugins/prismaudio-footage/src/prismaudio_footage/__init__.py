"""A planner for real footage, and its benchmark. Imported by every command, so it does not import torch."""

from __future__ import annotations

from collections.abc import Iterable

from prismaudio import Component, hookimpl


@hookimpl
def prismaudio_planners() -> Iterable[Component]:
    """A planner that recognises what sounds."""
    return [
        Component(
            "prismaudio_footage.planner:FootagePlanner",
            "Recognises families of things in real footage and follows their motion.",
        )
    ]


@hookimpl
def prismaudio_benchmarks() -> Iterable[Component]:
    """A benchmark of plans on real videos with sound."""
    return [
        Component(
            "prismaudio_footage.benchmark:FootageBenchmark",
            "Families, onsets and sides of plans against the sound of real videos.",
        )
    ]


@hookimpl
def prismaudio_metrics() -> Iterable[Component]:
    """A metric of what is heard."""
    return [
        Component(
            "prismaudio_footage.metrics:FamilyHeard", "Share of clips whose planned family YAMNet hears.", "semantic"
        )
    ]
