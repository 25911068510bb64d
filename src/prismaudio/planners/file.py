"""Plans from files."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from prismaudio.errors import PlanError
from prismaudio.plan import Plan
from prismaudio.planners.base import Planner

if TYPE_CHECKING:
    from collections.abc import Sequence

    from prismaudio.components import Dimension
    from prismaudio.types import Clip


class FilePlanner(Planner):
    """Reads plans that somebody wrote.

    Args:
        path: A plan for every clip, or a folder with one file ``<id>.txt`` for each clip.
    """

    def __init__(self, path: str) -> None:
        self.path = Path(path)

    def plan(self, clip: Clip, dimensions: Sequence[Dimension], given: str | Plan | None = None) -> Plan:
        """The plan of the clip, as it was written, but for the sections that are given.

        Raises:
            PlanError: There is no file for the clip, or it is not a plan.
        """
        path = self.path / f"{clip.id}.txt" if self.path.is_dir() else self.path
        if not path.is_file():
            raise PlanError(f"there is no plan for clip {clip.id}: expected it at {path}")
        written = Plan.load(path, dimensions)
        return written.replace({"semantic": given} if isinstance(given, str) else given or {})
