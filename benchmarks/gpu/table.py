"""Prints the JSON files of the scripts beside this one as Markdown, for ``docs/reference/results``.

Run: ``python benchmarks/gpu/table.py FOLDER``.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path


def main(folder: Path) -> None:
    """Print a table for each file."""
    for path in sorted(folder.glob("*.json")):
        report = json.loads(path.read_text(encoding="utf-8"))
        settings = {name: value for name, value in report["meta"].items() if not isinstance(value, dict)}
        versions = ", ".join(f"{name} {version}" for name, version in report["meta"]["versions"].items())
        sys.stdout.write(f"## {path.stem}\n\n{report['meta']['device']}, {versions}.\n\n{table(report['rows'])}\n\n")
        sys.stdout.write(", ".join(f"{name} {value}" for name, value in settings.items()) + "\n\n")


def table(rows: dict[str, dict[str, dict[str, float] | None]]) -> str:
    """The means of a report as a Markdown table, without columns that have no value.

    Example:
        >>> print(table({"decode": {"seconds": {"mean": 0.01234, "sd": 0.0}, "peak_db": None}}))
        | | seconds |
        |---|---|
        | decode | 0.01234 |
    """
    columns = list(dict.fromkeys(name for cells in rows.values() for name, cell in cells.items() if cell))
    lines = [f"| | {' | '.join(name.replace('_', ' ') for name in columns)} |", "|---" * (len(columns) + 1) + "|"]
    for row, cells in rows.items():
        shown = [f"{cell['mean']:.4g}" if (cell := cells.get(name)) else "" for name in columns]
        lines.append(f"| {row} | {' | '.join(shown)} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
