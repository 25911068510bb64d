"""The prompting functions keep the sections that they are given."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kept_plans import SEEN, KeptPlans

from prismaudio.plan import Plan
from prismaudio.planners import Planner
from prismaudio_studio.prompting import add_times, complete_plan, plan_from_prompt
from prismaudio_studio.words import NOUNS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from prismaudio.components import Dimension
    from prismaudio.types import Clip


class ConstantPlanner(Planner):
    """Detects the same plan in every clip."""

    def plan(self, clip: Clip, dimensions: Sequence[Dimension], given: str | Plan | None = None) -> Plan:
        detected = SEEN if clip.frames is not None else None
        if isinstance(given, str):
            return add_times(plan_from_prompt(given, detected), clip.duration_s)
        return add_times(complete_plan(given or Plan({}), detected), clip.duration_s)


class TestPlans(KeptPlans):
    planner = ConstantPlanner

    def check(self, plan: Plan, given: Plan) -> None:
        # these are rewritten for the sources that the semantic section names
        rewritten = {"temporal", "spatial"} if "semantic" in given else {"temporal"}
        super().check(plan, Plan({name: text for name, text in given.items() if name not in rewritten}))
        assert plan.get("temporal") or not plan.read(NOUNS).sources
