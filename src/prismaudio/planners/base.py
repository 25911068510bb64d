"""The contract of a planner."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from prismaudio.components import Dimension
    from prismaudio.cot.plan import Plan
    from prismaudio.types import Clip


class Planner(ABC):
    """Writes the plan of a clip: one section for each dimension that it can answer."""

    @abstractmethod
    def plan(self, clip: Clip, dimensions: Sequence[Dimension]) -> Plan:
        """Sections for as many of ``dimensions`` as this planner can answer; the others are left out."""
