"""A planner of the core's kind keeps what it is given."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kept_plans import SEEN, KeptPlans

from prismaudio.plan import Plan
from prismaudio.planners import Planner

if TYPE_CHECKING:
    from collections.abc import Sequence

    from prismaudio.components import Dimension
    from prismaudio.types import Clip


class Watcher(Planner):
    """Sees the same in every clip."""

    def plan(self, clip: Clip, dimensions: Sequence[Dimension], given: str | Plan | None = None) -> Plan:
        texts = {"semantic": given} if isinstance(given, str) else dict(given or {})
        return SEEN.replace(texts) if clip.frames is not None else Plan(texts)


class TestPlans(KeptPlans):
    planner = Watcher
