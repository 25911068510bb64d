"""Table of scores for the terminal."""

from __future__ import annotations

import math
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.table import Table
from rich.text import Text

from prismaudio.progress import wide_console
from prismaudio.scorers import OF_MANY

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from prismaudio.evaluation.results import ScoreRecord
    from prismaudio.scorers import Scorer

ARROWS = {True: "↑", False: "↓", None: ""}
FIXED_WIDTH, FILE_WIDTH = 80, 12
"""Width of a line without file columns, and of a file column; file columns are shown only if all of them fit."""


def show(scorers: Sequence[Scorer], records: Sequence[ScoreRecord], totals: Mapping[str, Mapping[str, Any]]) -> None:
    """Print a table of all values, and the reasons of missing ones."""
    console = wide_console(160)
    n_columns = max(1, (console.width - FIXED_WIDTH) // FILE_WIDTH)
    scored = [scorer for scorer in scorers if totals[scorer.name]["value"] is not None]
    if scored:
        console.print(_table(scored, records, totals, with_files=len(records) <= n_columns))
    left_out: dict[str, list[str]] = {}
    for scorer in scorers:
        for reason in _reasons(scorer, records, totals[scorer.name]):
            left_out.setdefault(reason, []).append(scorer.name)
    if left_out:
        console.print("\nskipped:", highlight=False)
    for reason, names in left_out.items():
        console.print(f"  {', '.join(names)}: {reason}", markup=False, highlight=False, soft_wrap=True)


def _reasons(scorer: Scorer, records: Sequence[ScoreRecord], total: Mapping[str, Any]) -> list[str]:
    """Reasons of missing scores, with the number of files if not all are affected."""
    scores = [record.scores[scorer.name] for record in records]
    counts = Counter(score.reason for score in scores if score.value is None and score.reason != OF_MANY)
    if not counts and total["value"] is None:
        return [total["reason"]]
    n_files = len(records)
    return [reason + f" ({n} of {n_files} files)" * (n < n_files) for reason, n in counts.items()]


def _heads(records: Sequence[ScoreRecord]) -> list[str]:
    """The shortest names that distinguish the files."""
    paths = [Path(record.file) for record in records]
    named: list[list[str]] = [
        [path.stem for path in paths],
        [path.name for path in paths],
        [f"{path.parent.name}/{path.stem}" for path in paths],
    ]
    return next((names for names in named if len(set(names)) == len(paths)), [str(path) for path in paths])


def _table(
    scorers: Sequence[Scorer],
    records: Sequence[ScoreRecord],
    totals: Mapping[str, Mapping[str, Any]],
    *,
    with_files: bool,
) -> Table:
    """Table with a row for each scorer, optional columns for files, and totals if there is more than one file."""
    each = records if with_files else []
    many = len(records) > 1
    table = Table(show_edge=False)
    for head in ("", "dimension"):
        table.add_column(head, no_wrap=True)
    for name in _heads(each):
        table.add_column(Text(name), justify="right", overflow="ellipsis")
    for head in ["all", "files"] * many:
        table.add_column(head, justify="right", no_wrap=True)
    table.add_column("range", justify="right", no_wrap=True)
    table.add_column("better", justify="center")
    for scorer in scorers:
        total = totals[scorer.name]
        cells = [_number(record.scores[scorer.name].value) for record in each]
        cells += [_number(total["value"], total["sd"]), str(total["files"])] * many
        table.add_row(
            scorer.name, scorer.dimension or "", *cells, extent(scorer.range), ARROWS[scorer.higher_is_better]
        )
    return table


def extent(bounds: tuple[float, float]) -> str:
    """Short text of a range.

    Example:
        >>> extent((0.0, 1.0)), extent((-math.inf, 0.0)), extent((1.0, math.inf)), extent((-math.inf, math.inf))
        ('0 .. 1', '≤ 0', '≥ 1', 'any')
    """
    low, high = bounds
    if math.isinf(low) and math.isinf(high):
        return "any"
    if math.isinf(low):
        return f"≤ {high:g}"
    return f"≥ {low:g}" if math.isinf(high) else f"{low:g} .. {high:g}"


def _number(value: float | None, spread: float | None = None) -> str:
    """Four significant digits, and the standard deviation over files."""
    if value is None:
        return "-"
    return f"{value:.4g}" + (f" ± {spread:.2g}" if spread is not None else "")
