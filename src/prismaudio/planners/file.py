"""Planner that loads plans from files."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from prismaudio.checkpoints import Configured
from prismaudio.errors import PlanError
from prismaudio.plan import Plan
from prismaudio.planners.base import Planner

if TYPE_CHECKING:
    from collections.abc import Sequence

    from prismaudio.components import Dimension
    from prismaudio.types import Clip


class FilePlanner(Configured, Planner):
    """Loads existing plans from text files.

    Args:
        path: One plan file used for every clip, or a folder with a file ``<id>.txt`` per clip.
    """

    def __init__(self, path: str) -> None:
        self.path = Path(path)

    def plan(self, clip: Clip, dimensions: Sequence[Dimension], given: str | Plan | None = None) -> Plan:
        """Load the plan of the clip; the sections in ``given`` replace those of the file.

        Raises:
            PlanError: The clip has no plan file, or the file is not a valid plan.
        """
        path = self.path / f"{clip.id}.txt" if self.path.is_dir() else self.path
        if not path.is_file():
            raise PlanError(f"no plan found for clip {clip.id}: expected the file {path}")
        written = Plan.load(path, dimensions)
        return written.replace({"semantic": given} if isinstance(given, str) else given or {})
