"""The scores of systems in the columns of the paper's tables, with a reason for each cell that stays empty."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

from prismaudio import pretrained
from prismaudio.errors import PrismAudioError, truncated
from prismaudio.evaluation.comparison import ALL, STEREO, reference_of
from prismaudio.evaluation.grid import EMPTY, Grid
from prismaudio.evaluation.table import ARROWS
from prismaudio.registry import discover

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from prismaudio.data.manifest import ManifestEntry
    from prismaudio.evaluation.comparison import Cell, Comparison, System

PARAMETERS, SECONDS = "parameters", "seconds_per_clip"
"""Keys of the facts about systems that are columns."""
MONO_WIDTH = 1e-4
"""Largest :class:`prismaudio.metrics.width.StereoWidth` of a system that counts as mono: -40 dB of all energy."""
MAX_REASON = 200
"""Characters of a reason; the table of scores has the whole one."""


@dataclass(frozen=True)
class PaperColumn:
    """A column of a table of the paper.

    Args:
        title: Its head.
        scorers: Names of the rewards or metrics that fill it, or patterns of names; the first that has a value counts.
        higher_is_better: Whether higher values are better; None for neither.
        fact: The fact about a system that fills it instead of a scorer.
        lacking: Why a system may lack this fact.
        compares: Whether it compares with the true audio, so that the truth itself has no value.
        is_spatial: Whether it says nothing about a mono system.
    """

    title: str
    scorers: tuple[str, ...] = ()
    higher_is_better: bool | None = None
    fact: str = ""
    lacking: str = "it is known of models that the command runs, not of folders of audio"
    compares: bool = False
    is_spatial: bool = False

    @property
    def head(self) -> str:
        """Title and arrow."""
        return f"{self.title} {ARROWS[self.higher_is_better]}".strip()


LISTENING = "it needs people: prismaudio listen makes a listening test of this folder, and collects its answers"
NETWORKS = ("Yamnet", "Passt", "Panns", "Vggish")
"""Networks of Fréchet distances and KL divergences; the paper does not say which ones it took."""
MAIN = (
    PaperColumn("Params", fact=PARAMETERS),
    PaperColumn("CLAP", ("ClapScore", "MsClapReward", "LaionClapReward", "*Clap*"), higher_is_better=True),
    PaperColumn("DeSync", ("DeSync",), higher_is_better=False),
    PaperColumn("PQ", ("AudioboxAesthetics",), higher_is_better=True),
    PaperColumn("PC", ("AudioboxComplexity",), higher_is_better=False),
    PaperColumn("CE", ("AudioboxEnjoyment",), higher_is_better=True),
    PaperColumn("CU", ("AudioboxUsefulness",), higher_is_better=True),
    PaperColumn("GCC", ("GccMse",), higher_is_better=False, compares=True, is_spatial=True),
    PaperColumn("CRW", ("CrwMse",), higher_is_better=False, compares=True, is_spatial=True),
    PaperColumn(
        "FD",
        (*(f"{name}FrechetDistance" for name in NETWORKS), "*FrechetDistance"),
        higher_is_better=False,
        compares=True,
    ),
    PaperColumn(
        "KL", (*(f"{name}KlDivergence" for name in NETWORKS), "*KlDivergence"), higher_is_better=False, compares=True
    ),
    PaperColumn("MOS-Q", higher_is_better=True, fact="MOS-Q", lacking=LISTENING),
    PaperColumn("MOS-C", higher_is_better=True, fact="MOS-C", lacking=LISTENING),
    PaperColumn("Time (s)", fact=SECONDS),
)
"""The columns of the main table, in the order of the paper."""
STRATEGY = tuple(column for column in MAIN if column.title in ("CLAP", "DeSync", "CE", "CRW"))
"""The columns of the ablation of chains of thought, in the order of the paper."""


@dataclass
class PaperTable:
    """The cells of a table: a value with the scorer that it is from, or a reason.

    Args:
        columns: The columns.
        cells: System → title of the column → cell.
        truth: The system that is the true audio; None for none.
        notes: What a reader of the values must know.
    """

    columns: Sequence[PaperColumn]
    cells: dict[str, dict[str, dict[str, Any]]] = field(default_factory=dict)
    truth: str | None = None
    notes: list[str] = field(default_factory=list)

    def as_dict(self) -> dict[str, Any]:
        """The content of ``paper`` in ``results.json``."""
        return {"columns": [column.title for column in self.columns], "truth": self.truth, "systems": self.cells}

    def grid(self, title: str, *, intervals: bool = False) -> Grid:
        """The table for printing: the best values in bold, and a line for each reason.

        Args:
            title: Its title.
            intervals: Whether cells have intervals, and a star where that of the paired difference excludes zero.
        """
        grid = Grid(title, ("System", *(column.head for column in self.columns)))
        for name, row in self.cells.items():
            grid.rows[name] = [_text(column, row[column.title], intervals=intervals) for column in self.columns]
        for at, column in enumerate(self.columns):
            grid.best |= {(name, at) for name in self._best(column)}
        grid.notes = [*self._sources(), *self._reasons(), *self.notes]
        return grid

    def _best(self, column: PaperColumn) -> list[str]:
        """The systems with the best value; none of a column without better and worse, or with a single value."""
        if column.higher_is_better is None:
            return []
        values = {name: row[column.title]["value"] for name, row in self.cells.items() if "value" in row[column.title]}
        values.pop(self.truth or "", None)
        if len(values) < 2:
            return []
        best = max(values.values()) if column.higher_is_better else min(values.values())
        return [name for name, value in values.items() if value == best]

    def _sources(self) -> list[str]:
        """A line that says which scorer fills each column, where the heads do not say it."""
        found: dict[str, str] = {}
        for row in self.cells.values():
            for title, cell in row.items():
                if "scorer" in cell and "value" in cell:
                    clips = f" ({cell['clips']})" if "clips" in cell else ""
                    found[title] = f"{title}: {cell['scorer']}{clips}"
        return [f"computed by {'; '.join(found.values())}"] if found else []

    def _reasons(self) -> list[str]:
        """A line for each reason, with its columns and, if it is not that of all systems, its systems."""
        found: dict[tuple[str, tuple[str, ...]], list[str]] = {}
        for column in self.columns:
            by_reason: dict[str, list[str]] = {}
            for name, row in self.cells.items():
                if "reason" in (cell := row[column.title]):
                    by_reason.setdefault(cell["reason"], []).append(name)
            for reason, systems in by_reason.items():
                scorer = self.cells[systems[0]][column.title].get("scorer", column.title)
                named = column.title if scorer == column.title else f"{column.title} ({scorer})"
                found.setdefault((reason, tuple(systems)), []).append(named)
        lines = []
        for (reason, names), titles in found.items():
            of = "" if names == tuple(self.cells) else f" of {', '.join(names)}"
            lines.append(f"{EMPTY} {', '.join(titles)}{of}: {reason}")
        return lines


def paper_table(comparison: Comparison, columns: Sequence[PaperColumn] = MAIN, truth: str | None = None) -> PaperTable:
    """Put the scores of systems into the columns of the paper.

    Spatial columns are over the clips whose reference is stereo, where the comparison has such a group.

    Args:
        comparison: The scores.
        columns: The columns.
        truth: The system that is the true audio, the first row; None for none.
    """
    names = sorted(comparison.systems, key=lambda name: name != truth)
    table = PaperTable(columns, truth=truth)
    fillers = {column.title: _filler(comparison, column) for column in columns}
    for name in names:
        table.cells[name] = {
            column.title: _cell(comparison, column, fillers[column.title], name, is_truth=name == truth)
            for column in columns
        }
    if truth is None and columns == MAIN:
        table.notes.append("no row is the true audio; the folder of the references is a system: --audio truth=DIR")
    return table


def is_truth(system: System, entries: Iterable[ManifestEntry]) -> bool:
    """Whether the audio of a system is the true audio of the clips: the same files."""
    pairs = [(system.audio.get(entry.id), reference_of(entry)) for entry in entries]
    return all(made is not None and true is not None and made.resolve() == true.resolve() for made, true in pairs)


def num_parameters(model: str) -> int | None:
    """Number of parameters of the network that generates, without autoencoder and encoders; no weights are loaded.

    Args:
        model: A model on this machine: its name, its folder or its repository.

    Returns:
        The number; None if the model cannot be read.
    """
    try:
        transformer = pretrained.find(model).factories()["transformer"].outline()
    except (PrismAudioError, KeyError):
        return None
    return sum(parameter.numel() for parameter in transformer.parameters())


def _filler(comparison: Comparison, column: PaperColumn) -> tuple[str, str]:
    """The scorer that fills a column, the same for all systems, and its group of clips; no name if there is none."""
    group = STEREO if column.is_spatial and STEREO in comparison.cells else ALL
    rows = comparison.cells[group]
    scored = [name for pattern in column.scorers for name in rows if fnmatchcase(name, pattern)]
    with_value = (name for name in scored if any(cell.value is not None for cell in rows[name].values()))
    return next(with_value, scored[0] if scored else ""), group


def _cell(
    comparison: Comparison, column: PaperColumn, filler: tuple[str, str], system: str, *, is_truth: bool
) -> dict[str, Any]:
    """The cell of a system."""
    facts = comparison.systems[system]
    if column.fact:
        value = facts.get(column.fact)
        return {"reason": column.lacking} if value is None else {"value": value}
    if is_truth and column.compares:
        return {"reason": "it compares with the true audio, which this is"}
    width = _value(comparison.cells[ALL], "StereoWidth", system) if column.is_spatial else None
    if width is not None and width < MONO_WIDTH:
        return {"reason": "its audio is mono, which has no direction"}
    scorer, group = filler
    if scorer:
        cell = comparison.cells[group][scorer][system]
        if cell.value is not None:
            return {**cell.as_dict(), "scorer": scorer, **({"clips": group} if group != ALL else {})}
        reason = comparison.cells[ALL].get(scorer, {system: cell})[system].reason or cell.reason
        return {"reason": truncated(reason, MAX_REASON) or "no clip has a value", "scorer": scorer}
    return _not_scored(column.scorers)


def _value(rows: Mapping[str, Mapping[str, Cell]], scorer: str, system: str) -> float | None:
    return rows[scorer][system].value if scorer in rows else None


def _not_scored(names: Sequence[str]) -> dict[str, Any]:
    """A cell of which no scorer is in the comparison: none is installed, or none was chosen."""
    registry = discover()
    for kind in ("metrics", "rewards"):
        if installed := next((name for name in names if name in registry.names(kind)), None):
            return {"reason": f"installed, but not among the {kind} that --{kind} names", "scorer": installed}
    provider = registry.provider(names[0])
    hint = f"; {registry.install_hint(provider)}" if provider else ""
    return {"reason": f"not installed{hint}", "scorer": names[0]}


def _text(column: PaperColumn, cell: Mapping[str, Any], *, intervals: bool = False) -> str:
    """A value as in the paper.

    Example:
        >>> [_text(column, {"value": value}) for column, value in ((MAIN[0], 518_123_456), (MAIN[1], 0.4712))]
        ['518M', '0.471']
        >>> _text(MAIN[1], {"value": 0.4712, "low": 0.4, "high": 0.55}, intervals=True), _text(MAIN[1], {})
        ('0.471 [0.4, 0.55]', '–')
    """
    value = cell.get("value")
    if value is None or not math.isfinite(value):
        return EMPTY
    if column.fact == SECONDS:
        return f"{value:.2f}"
    if column.fact == PARAMETERS:
        power, unit = next((p, u) for p, u in ((1e9, "B"), (1e6, "M"), (1e3, "k"), (1, "")) if value >= p or p == 1)
        return f"{value / power:.3g}{unit}"
    text = f"{value:.3g}"
    if intervals and "low" in cell:
        text += f" [{cell['low']:.3g}, {cell['high']:.3g}]"
    differs = cell.get("difference_low", 0.0) > 0 or cell.get("difference_high", 0.0) < 0
    return text + "*" * (intervals and differs)
