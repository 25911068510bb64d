"""A table of results whose empty cells have reasons, for the terminal and as Markdown."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from rich.table import Table
from rich.text import Text

from prismaudio.progress import wide_console
from prismaudio.untrusted import escaped

if TYPE_CHECKING:
    from rich.console import Console

EMPTY = "–"
"""The text of a cell without a value."""


@dataclass
class Grid:
    """A table: a line for each row, and below it what a reader must know.

    Args:
        title: Its title.
        heads: The heads of the columns; the first is that of the names of rows.
        rows: The cells of each row by its name.
        best: Name of the row and number of the cell of values that are shown in bold.
        notes: Lines below the table, such as the reasons of empty cells.

    Example:
        >>> rows = {"a": ["0.5"], "b": ["–"]}
        >>> print(Grid("Recall", ("Encoder", "R@1 ↑"), rows, {("a", 0)}, ["b: it has no weights"]).markdown())
        ## Recall
        <BLANKLINE>
        | Encoder | R@1 ↑ |
        |---|---:|
        | a | **0.5** |
        | b | – |
        <BLANKLINE>
        - b: it has no weights
        <BLANKLINE>
    """

    title: str
    heads: tuple[str, ...]
    rows: dict[str, list[str]] = field(default_factory=dict)
    best: set[tuple[str, int]] = field(default_factory=set)
    notes: list[str] = field(default_factory=list)

    def markdown(self) -> str:
        """The table as Markdown, under a heading of the second level."""
        lines = [f"## {self.title}\n", _line(self.heads), f"|---|{'---:|' * (len(self.heads) - 1)}"]
        for name, cells in self.rows.items():
            lines.append(_line((name, *(f"**{c}**" if (name, at) in self.best else c for at, c in enumerate(cells)))))
        notes = [f"- {note}" for note in self.notes]
        return escaped("\n".join([*lines, *([""] if notes else []), *notes]) + "\n")

    def show(self, console: Console | None = None) -> None:
        """Print the table."""
        if console is None:
            console = wide_console(200)
        table = Table(title=Text(self.title), show_edge=False)
        table.add_column(self.heads[0], no_wrap=True)
        for head in self.heads[1:]:
            table.add_column(Text(head), justify="right")
        for name, cells in self.rows.items():
            bold = ["bold" if (name, at) in self.best else "" for at in range(len(cells))]
            table.add_row(Text(name), *(Text(cell, style) for cell, style in zip(cells, bold, strict=True)))
        console.print(table)
        for note in self.notes:
            console.print(f"  {note}", markup=False, highlight=False, soft_wrap=True)


def _line(cells: tuple[str, ...]) -> str:
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"
