"""The results of an evaluation as LaTeX and as CSV."""

from __future__ import annotations

import csv
import io
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from prismaudio.evaluation.comparison import Cell, Comparison
    from prismaudio.evaluation.reading import Evaluation

_SPECIAL = {char: f"\\{char}" for char in "&%$#_{}"} | {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': r"\textquotedbl{}",
}
_LATEX_ARROWS = {True: r" $\uparrow$", False: r" $\downarrow$", None: ""}


def number(value: float, digits: int = 4, *, signed: bool = False) -> str:
    """A number with its sign as a minus, not a hyphen.

    Example:
        >>> number(-0.123456), number(0.5, 3, signed=True), number(0.0, signed=True)
        ('−0.1235', '+0.5', '0')
    """
    return f"{value or 0.0:{'+' if signed and value else ''}.{digits}g}".replace("-", "\N{MINUS SIGN}")


def best(comparison: Comparison, row: Mapping[str, Cell], name: str, left_out: Collection[str] = ()) -> set[str]:
    """The systems with the best value of a scorer, among two or more that can be compared.

    Args:
        comparison: The comparison.
        row: Cells of the scorer by system.
        name: The scorer; one without a direction has no best.
        left_out: Systems whose audio is the true audio itself.
    """
    higher = comparison.scorers[name]["higher_is_better"]
    values = {system: cell.value for system, cell in row.items() if cell.value is not None and system not in left_out}
    if higher is None or len(values) < 2:
        return set()
    target = (max if higher else min)(values.values())
    return {system for system, value in values.items() if value == target}


def latex_text(text: str) -> str:
    r"""Text as LaTeX: special characters are escaped, and what cannot be printed is replaced.

    Example:
        >>> print(latex_text("50%_of {all}"))
        50\%\_of \{all\}
    """
    return "".join(_SPECIAL.get(char, char if char.isprintable() else "?") for char in text)


def latex(
    comparison: Comparison, title: str, left_out: Collection[str] = (), names: Sequence[str] | None = None
) -> str:
    """The comparison as LaTeX: a table for each group, a line for each system, the best values in bold.

    Args:
        comparison: The comparison.
        title: What was compared.
        left_out: Systems that are never the best, see :func:`best`.
        names: The scorers in order; None for that of the comparison.
    """
    parts = ["% \\usepackage{booktabs}\n"]
    for group, rows in comparison.cells.items():
        measured = [
            name
            for name in names or comparison.scorers
            if any(cell.value is not None for cell in rows.get(name, {}).values())
        ]
        top = {name: best(comparison, rows[name], name, left_out) for name in measured}
        heads = [
            f"{latex_text(name)}{_LATEX_ARROWS[comparison.scorers[name]['higher_is_better']]}" for name in measured
        ]
        lines = [
            " & ".join(
                [latex_text(system), *(_latex_cell(rows[name][system], system in top[name]) for name in measured)]
            )
            for system in comparison.systems
        ]
        caption = (
            f"{latex_text(title)}: {latex_text(group)}. In brackets the 95\\% interval over clips; a star: the "
            f"interval of the paired difference from {latex_text(comparison.baseline)} does not contain zero."
        )
        parts += [
            f"\n\\begin{{table}}\n\\centering\n\\caption{{{caption}}}\n",
            f"\\begin{{tabular}}{{l{'r' * len(measured)}}}\n\\toprule\n",
            f"{' & '.join(['System', *heads])} \\\\\n\\midrule\n",
            *(f"{line} \\\\\n" for line in lines),
            "\\bottomrule\n\\end{tabular}\n\\end{table}\n",
        ]
    return "".join(parts)


def _latex_cell(cell: Cell, is_best: bool) -> str:  # noqa: FBT001
    if cell.value is None:
        return "--"
    text = f"{cell.value:.4g}"
    text = f"\\textbf{{{text}}}" if is_best else f"${text}$" if text.startswith("-") else text
    if cell.difference is not None and cell.difference.excludes_zero:
        text += "*"
    if cell.low is not None and cell.high is not None:
        text += f" {{\\scriptsize [${cell.low:.3g}$, ${cell.high:.3g}$]}}"
    return text


def results_csv(comparison: Comparison) -> str:
    """The comparison as CSV: a row for each group, scorer and system."""
    keys = ("value", "n", "low", "high", "seed_sd", "difference", "difference_low", "difference_high", "reason")
    rows = (
        {
            "group": group,
            "scorer": name,
            "dimension": comparison.scorers[name]["dimension"],
            "higher_is_better": comparison.scorers[name]["higher_is_better"],
            "system": system,
            **cell.as_dict(),
        }
        for group, scorers in comparison.cells.items()
        for name, row in scorers.items()
        for system, cell in row.items()
    )
    return _csv(("group", "scorer", "dimension", "higher_is_better", "system", *keys), rows)


def clips_csv(found: Evaluation) -> str:
    """The scores of single clips as CSV: a row for each clip and system, a column for each scorer."""
    columns = found.comparison.columns
    rows = [
        {
            **{name: clip.columns.get(name) for name in columns},
            **{name: row.get(clip.id) for name, row in scores.items()},
        }
        | {"id": clip.id, "system": system}
        for clip in found.clips
        for system, scores in found.scores.items()
    ]
    names = [name for name in found.comparison.scorers if name not in ("id", "system", *columns)]
    return _csv(("id", "system", *columns, *names), rows)


def _csv(columns: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> str:
    out = io.StringIO()
    writer = csv.DictWriter(out, columns, extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue()
