"""What the studio's planners fill up, word and time keeps what it is given."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kept_plans import SEEN, KeptPlans

from prismaudio.plan import Plan
from prismaudio.planners import Planner
from prismaudio_studio.prompting import filled_up, timed, worded
from prismaudio_studio.words import NOUNS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from prismaudio.components import Dimension
    from prismaudio.types import Clip


class Watcher(Planner):
    """Sees the same in every clip."""

    def plan(self, clip: Clip, dimensions: Sequence[Dimension], given: str | Plan | None = None) -> Plan:
        seen = SEEN if clip.frames is not None else None
        if isinstance(given, str):
            return timed(worded(given, seen), clip.duration_s)
        return timed(filled_up(given or Plan({}), seen), clip.duration_s)


class TestPlans(KeptPlans):
    planner = Watcher

    def check(self, plan: Plan, given: Plan) -> None:
        anew = {"temporal", "spatial"} if "semantic" in given else {"temporal"}  # about what the first section names
        super().check(plan, Plan({name: text for name, text in given.items() if name not in anew}))
        assert plan.get("temporal") or not plan.read(NOUNS).sources
