"""Reports of benchmarks: means and standard deviations, as JSON and as a table."""

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
"""Maximum size of a report file."""


@dataclass
class Report:
    """Values by row and column, one per sampling seed.

    Args:
        columns: Names of the columns, in order.
        values: Values by row and column; NaN means that there was nothing to measure.
        meta: Settings, versions and durations of the run.
    """

    columns: Sequence[str]
    values: dict[str, dict[str, list[float]]] = field(default_factory=dict)
    meta: dict[str, Any] = field(default_factory=dict)

    def add(self, row: str, column: str, value: float) -> None:
        """Add the value of one sampling seed."""
        self.values.setdefault(row, {}).setdefault(column, []).append(value)

    def cell(self, row: str, column: str) -> Cell | None:
        """Mean and standard deviation over the sampling seeds; None if there are no finite values.

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
        """The content of the JSON file."""
        rows = {row: {column: self.cell(row, column) for column in self.columns} for row in self.values}
        return {"rows": rows, "meta": self.meta}

    def save(self, path: Path) -> None:
        """Write the JSON file atomically.

        Raises:
            MediaError: It cannot be written.
        """
        write_json(path, self.as_dict())

    def listing(self, title: str) -> Table:
        """A table for the terminal: a line for each row."""
        lines = ((row, [self.cell(row, column) for column in self.columns]) for row in self.values)
        return _table(title, "", self.columns, lines)

    def table(self, title: str, *, single: bool = False) -> Table:
        """A table for the terminal: a line for each column of the report, a column for each of its rows.

        Args:
            title: Title of the table.
            single: Whether there is one value in each cell: deviations, and lines without any value, are left out.
        """
        lines = [(column, [self.cell(row, column) for row in self.values]) for column in self.columns]
        if single:
            lines = [(column, cells) for column, cells in lines if any(cells)]
        return _table(title, "measure", self.values, lines, single=single)


def write_json(path: Path, figures: dict[str, Any], *, finite: bool = True) -> None:
    """Write figures to a JSON file atomically.

    Args:
        path: The file.
        figures: Content of the file.
        finite: Whether every number must be finite.

    Raises:
        MediaError: It cannot be written.
    """
    with replacing(path, "choose another file with --json") as part:
        part.write_text(json.dumps(figures, indent=2, allow_nan=not finite) + "\n", encoding="utf-8")


def is_report(path: Path) -> bool:
    """Whether a file is a report of a benchmark."""
    try:
        found = load_json(read_small(path, MAX_BYTES))
    except (OSError, ValueError):
        return False
    return isinstance(found, dict) and isinstance(found.get("meta"), dict) and ("rows" in found or "base" in found)


def _table(
    title: str,
    corner: str,
    heads: Iterable[str],
    lines: Iterable[tuple[str, list[Cell | None]]],
    *,
    single: bool = False,
) -> Table:
    def shown(cell: Cell | None) -> str:
        if cell is None:
            return "-"
        return f"{cell['mean']:.3f}" if single else f"{cell['mean']:.3f} ± {cell['sd']:.3f}"

    table = Table(title=title)
    table.add_column(corner, no_wrap=True)
    for head in heads:
        table.add_column(head.replace("_", " "), justify="right")
    for name, cells in lines:
        table.add_row(name, *map(shown, cells))
    return table
