"""A comparison of systems as a table for the terminal, as Markdown and as a figure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.table import Table
from rich.text import Text

from prismaudio.evaluation.comparison import ALL
from prismaudio.evaluation.table import ARROWS

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from prismaudio.evaluation.comparison import Cell, Comparison


def measured(comparison: Comparison, group: str) -> dict[str, Mapping[str, Cell]]:
    """The scorers of a group that have a value for any system."""
    rows = comparison.cells[group]
    return {name: row for name, row in rows.items() if any(cell.value is not None for cell in row.values())}


def unmeasured(comparison: Comparison) -> dict[str, list[str]]:
    """Reason → scorers that have no value over all clips, for any system."""
    left_out: dict[str, list[str]] = {}
    for name, row in comparison.cells[ALL].items():
        if all(cell.value is None for cell in row.values()):
            reason = next((cell.reason for cell in row.values() if cell.reason), "no file was scored")
            left_out.setdefault(reason, []).append(name)
    return left_out


def text_of(cell: Cell, digits: int = 4) -> str:
    """Value and interval of a cell; a star marks an interval of the difference from the baseline without zero.

    Args:
        cell: The cell.
        digits: Significant digits of the value.

    Example:
        >>> from prismaudio.evaluation.comparison import Cell
        >>> from prismaudio.evaluation.intervals import MeanInterval
        >>> text_of(Cell(0.5, 9, 0.4, 0.6, MeanInterval(0.1, 0.02, 0.2, 9, 0)))
        '0.5 [0.4, 0.6]*'
    """
    if cell.value is None:
        return "–"
    text = f"{cell.value:.{digits}g}"
    if cell.low is not None and cell.high is not None:
        text += f" [{cell.low:.3g}, {cell.high:.3g}]"
    if cell.difference is not None and cell.difference.excludes_zero:
        text += "*"
    if cell.seed_sd is not None:
        text += f" ±{cell.seed_sd:.2g}"
    return text


def tables(comparison: Comparison) -> list[Table]:
    """A table for each group of clips: a line for each scorer, a column for each system."""
    made = []
    for group in comparison.cells:
        table = Table(title=Text(group), show_edge=False)
        table.add_column("", no_wrap=True)
        table.add_column("dimension")
        for system in comparison.systems:
            table.add_column(system, justify="right")
        table.add_column("clips", justify="right")
        for name, row in measured(comparison, group).items():
            about = comparison.scorers[name]
            cells = [text_of(row[system]) for system in comparison.systems]
            clips = sorted({cell.n for cell in row.values()})
            counted = str(clips[0]) if len(clips) == 1 else f"{clips[0]}–{clips[-1]}"
            table.add_row(f"{name} {ARROWS[about['higher_is_better']]}", about["dimension"] or "", *cells, counted)
        made.append(table)
    return made


def markdown(comparison: Comparison, title: str) -> str:
    """The comparison as Markdown: a line for each system, a column for each scorer, as in papers."""
    parts = [f"# {title}\n"]
    for group in comparison.cells:
        rows = measured(comparison, group)
        heads = [f"{name} {ARROWS[comparison.scorers[name]['higher_is_better']]}".strip() for name in rows]
        parts.append(
            f"\n## {group}\n\n| System | {' | '.join([*heads, 's per clip'])} |\n|{'---|' * (len(heads) + 2)}\n"
        )
        for system, facts in comparison.systems.items():
            cells = [text_of(row[system]) for row in rows.values()]
            seconds = facts.get("seconds_per_clip")
            cells.append("–" if seconds is None else f"{seconds:.2f}")
            parts.append(f"| {system} | {' | '.join(cells)} |\n")
    parts.append(
        "\nIn brackets the 95% interval of the value over clips, by bootstrap. A star: the interval of the paired "
        f"difference from {comparison.baseline} does not contain zero."
    )
    if any("seeds" in facts for facts in comparison.systems.values()):
        parts.append(" ±: standard deviation over the seeds of a model.")
    parts.append("\n")
    if left_out := unmeasured(comparison):
        parts.append("\nNot measured:\n\n")
        parts += [f"- {', '.join(names)}: {reason}\n" for reason, names in left_out.items()]
    if comparison.notes:
        parts.append("\nNotes:\n\n")
        parts += [f"- {note}\n" for note in comparison.notes]
    return "".join(parts)


def draw(comparison: Comparison, path: Path) -> None:
    """Draw the values of all systems with their intervals, a panel for each scorer, to a PNG."""
    from matplotlib.figure import Figure

    rows = measured(comparison, ALL)
    names = list(comparison.systems)
    n_columns = min(4, max(1, len(rows)))
    n_rows = -(-len(rows) // n_columns)
    figure = Figure(figsize=(3.2 * n_columns, (0.6 + 0.32 * len(names)) * max(1, n_rows)), layout="constrained")
    axes = figure.subplots(max(1, n_rows), n_columns, squeeze=False)
    for axis in axes.flat[len(rows) :]:
        axis.set_visible(False)
    for at, (axis, (name, row)) in enumerate(zip(axes.flat, rows.items(), strict=False)):
        for y, system in enumerate(reversed(names)):
            cell = row[system]
            if cell.value is None:
                continue
            if cell.low is not None and cell.high is not None:
                axis.plot([cell.low, cell.high], [y, y], color="#0072B2", linewidth=2, solid_capstyle="round")
            axis.plot(cell.value, y, "o", color="#D55E00" if system == comparison.baseline else "#0072B2", markersize=5)
        axis.set_title(f"{name} {ARROWS[comparison.scorers[name]['higher_is_better']]}", fontsize=9)
        axis.set_yticks(range(len(names)), reversed(names) if at % n_columns == 0 else [""] * len(names), fontsize=8)
        axis.set_ylim(-0.6, len(names) - 0.4)
        axis.tick_params(axis="x", labelsize=7)
        axis.grid(visible=True, axis="x", linewidth=0.4)
    figure.savefig(path, dpi=150, format="png")
