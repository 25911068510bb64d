"""What a benchmark found: means and standard deviations, as JSON and as a table."""

from __future__ import annotations

import json
import math
import statistics
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from rich.table import Table

from prismaudio.media.files import replacing
from prismaudio.untrusted import load_json, read_small

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

Cell = dict[str, float]
MAX_BYTES = 256 << 20
"""A file of figures is smaller than this."""


@dataclass
class Report:
    """Values by row and column, one for each sampling seed.

    Args:
        columns: Names of the columns, in order.
        values: Values by row and column; a value that is not a number means that there was nothing to measure.
        meta: What was measured, with which versions, and how long it took.
    """

    columns: Sequence[str]
    values: dict[str, dict[str, list[float]]] = field(default_factory=dict)
    meta: dict[str, Any] = field(default_factory=dict)

    def add(self, row: str, column: str, value: float) -> None:
        """Add the value of one sampling seed."""
        self.values.setdefault(row, {}).setdefault(column, []).append(value)

    def cell(self, row: str, column: str) -> Cell | None:
        """Mean and standard deviation over the sampling seeds; None where nothing was measured.

        Example:
            >>> report = Report(["f1"], {"truth": {"f1": [0.5, 0.7]}})
            >>> report.cell("truth", "f1")
            {'mean': 0.6, 'sd': 0.141421}
        """
        values = [value for value in self.values[row].get(column, []) if math.isfinite(value)]
        if not values:
            return None
        spread = statistics.stdev(values) if len(values) > 1 else 0.0
        return {"mean": round(statistics.fmean(values), 6), "sd": round(spread, 6)}

    def as_dict(self) -> dict[str, Any]:
        """What the JSON file holds."""
        rows = {row: {column: self.cell(row, column) for column in self.columns} for row in self.values}
        return {"rows": rows, "meta": self.meta}

    def save(self, path: Path) -> None:
        """Write the JSON file, complete or not at all.

        Raises:
            MediaError: It cannot be written.
        """
        write_json(path, self.as_dict())

    def listing(self, title: str) -> Table:
        """A table for the terminal: a line for each row."""
        lines = ((row, [self.cell(row, column) for column in self.columns]) for row in self.values)
        return _table(title, "", self.columns, lines)

    def table(self, title: str) -> Table:
        """A table for the terminal: a line for each column of the report, a column for each of its rows."""
        lines = ((column, [self.cell(row, column) for row in self.values]) for column in self.columns)
        return _table(title, "measure", self.values, lines)


def write_json(path: Path, figures: dict[str, Any], *, finite: bool = True) -> None:
    """Write figures to a JSON file, complete or not at all.

    Args:
        path: The file.
        figures: What to write.
        finite: Whether every number must be.

    Raises:
        MediaError: It cannot be written.
    """
    with replacing(path, "choose another file with --json") as part:
        part.write_text(json.dumps(figures, indent=2, allow_nan=not finite) + "\n", encoding="utf-8")


def is_report(path: Path) -> bool:
    """Whether a file holds figures that a benchmark wrote."""
    try:
        found = load_json(read_small(path, MAX_BYTES))
    except (OSError, ValueError):
        return False
    return isinstance(found, dict) and isinstance(found.get("meta"), dict) and ("rows" in found or "base" in found)


def _table(title: str, corner: str, heads: Iterable[str], lines: Iterable[tuple[str, list[Cell | None]]]) -> Table:
    table = Table(title=title)
    table.add_column(corner, no_wrap=True)
    for head in heads:
        table.add_column(head.replace("_", " "), justify="right")
    for name, cells in lines:
        table.add_row(name, *("-" if cell is None else f"{cell['mean']:.3f} ± {cell['sd']:.3f}" for cell in cells))
    return table
