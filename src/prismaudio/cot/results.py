"""What becomes of rows: the decisions of thresholds and persons, the manifest to train on, and the summary."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prismaudio.cot.building import columns_of, costs_of, plan_problem, request_of
from prismaudio.cot.rows import MANIFEST, ROWS, VALID, CotRow, RowFolder, RowIndex
from prismaudio.cot.strategies import strategy_plans
from prismaudio.errors import DataError, reason
from prismaudio.media import replacing
from prismaudio.plan import Plan
from prismaudio.untrusted import json_text, load_json, read_small

if TYPE_CHECKING:
    from prismaudio.cot.writers import Writer
    from prismaudio.data.manifest import ManifestEntry


@dataclass(frozen=True)
class Correction:
    """What a person says about a row.

    Args:
        sections: Sections that replace those of the row; an empty one removes its section.
        accepted: Whether the row becomes training data; None to leave that to the gates, or, if the sections are
            changed, to accept it.
        request: The row that it is about, see :class:`CotRow`; empty for whichever has its id.
    """

    sections: Mapping[str, str] = field(default_factory=dict)
    accepted: bool | None = None
    request: str = ""


def read_corrections(path: Path, sections: Sequence[str]) -> dict[str, Correction]:
    """Read corrections by the ids of their rows: ``{id: {"sections": {...}, "accepted": true}}``.

    Args:
        path: The JSON file.
        sections: Names of the sections.

    Raises:
        DataError: The file cannot be read, or has another form.
    """
    expected = 'expected {id: {"sections": {name: text}, "accepted": true or false}}'
    try:
        found = load_json(read_small(path, 1 << 30))
    except (OSError, ValueError) as error:
        raise DataError(f"cannot read the corrections {path}: {reason(error)}; {expected}") from error
    if not isinstance(found, dict):
        raise DataError(f"the corrections {path} are no object; {expected}")
    corrections = {}
    for name, value in found.items():
        fits = isinstance(value, dict) and value.keys() <= {"sections", "accepted", "request"}
        texts = value.get("sections") or {} if fits else {}
        fits = fits and isinstance(texts, dict) and all(isinstance(text, str) for text in texts.values())
        fits = fits and isinstance(value.get("accepted"), bool | None) and isinstance(value.get("request", ""), str)
        if not fits:
            raise DataError(f"the corrections {path} have {str(value)[:80]!r} for {name}; {expected}")
        if unknown := [section for section in texts if section not in sections]:
            raise DataError(
                f"the corrections {path} have a section {unknown[0]!r} for {name}; expected {', '.join(sections)}"
            )
        corrections[name] = Correction(texts, value.get("accepted"), value.get("request", ""))
    return corrections


def write_corrections(
    path: Path, kept: Mapping[str, Correction], given: Mapping[str, Correction], keys: Mapping[str, tuple[str, str]]
) -> dict[str, Correction]:
    """Write corrections to a file of the folder, bound to the rows that they are about.

    Args:
        path: The file.
        kept: Those that it has.
        given: New ones, which replace those of the same ids.
        keys: Id and request of each row, by id; corrections for other rows are left out.

    Returns:
        The new ones.
    """
    new = {name: replace(one, request=keys[name][1]) for name, one in given.items() if name in keys}
    with replacing(path) as part:
        part.write_bytes(json_text({name: asdict(one) for name, one in {**kept, **new}.items()}, indent=2))
    return new


def decided(row: CotRow, minimums: Mapping[str, float], correction: Correction | None = None) -> CotRow:
    """A row with the decision whether it becomes training data.

    Args:
        row: The row.
        minimums: Minimum score of rewards; a row that a reward could not score is not rejected by it.
        correction: What a person says about it.

    Example:
        >>> row = CotRow("a", {}, 2.0, {"semantic": "A dog."}, gates={"SideGate": None}, scores={"TemporalReward": 0.4})
        >>> decided(row, {}).accepted, decided(row, {"TemporalReward": 0.5}).accepted
        (True, False)
    """
    accepted = not any(row.gates.values()) and not below(row, minimums)
    if correction is not None and correction.sections:
        sections = {name: text for name, text in {**row.sections, **correction.sections}.items() if text.strip()}
        plan = Plan(sections)
        gates = {**row.gates, VALID: plan_problem(plan, row.duration_s)}
        row = replace(row, sections=dict(plan), corrected=dict(plan) != row.sections, gates=gates)
        accepted = accepted or row.corrected
    if correction is not None and correction.accepted is not None:
        accepted = correction.accepted
    return replace(row, accepted=accepted and row.gates.get(VALID) is None)


def below(row: CotRow, minimums: Mapping[str, float]) -> list[str]:
    """The rewards whose score of a row is too low."""
    return [name for name, minimum in minimums.items() if row.scores.get(name, minimum) < minimum]


@dataclass
class Summary:
    """Counts over the rows of a folder; see :meth:`values`."""

    minimums: Mapping[str, float]
    n_rows: int = 0
    n_accepted: int = 0
    n_corrected: int = 0
    checks: Counter[tuple[str, str]] = field(default_factory=Counter)
    scores: dict[str, list[float]] = field(default_factory=dict)
    below: Counter[str] = field(default_factory=Counter)
    costs: dict[str, float] = field(default_factory=lambda: costs_of([]))

    def add(self, row: CotRow) -> None:
        """Count a row."""
        self.n_rows += 1
        self.n_accepted += row.accepted
        self.n_corrected += row.corrected
        self.checks.update((name, "rejected" if reason else "passed") for name, reason in row.gates.items())
        self.checks.update((name, "skipped") for name in row.skipped)
        for name, value in row.scores.items():
            self.scores.setdefault(name, []).append(value)
        self.below.update(below(row, self.minimums))
        for origin in row.origins.values():
            self.costs = costs_of([self.costs, origin])

    def values(self, gates: Iterable[str]) -> dict[str, Any]:
        """The summary, as JSON types.

        Args:
            gates: Names of the gates.
        """
        kinds = ("passed", "rejected", "skipped")
        counts = {name: {kind: self.checks[name, kind] for kind in kinds} for name in (VALID, *gates)}
        return {
            "rows": self.n_rows,
            "accepted": self.n_accepted,
            "corrected": self.n_corrected,
            "gates": {
                name: {**count, "rejection_rate": _share(count["rejected"], count["rejected"] + count["passed"])}
                for name, count in counts.items()
            },
            "scores": {
                name: {
                    "rows": len(values),
                    "mean": round(statistics.fmean(values), 6),
                    "min": min(values),
                    "max": max(values),
                    "threshold": self.minimums.get(name),
                    "below": self.below[name],
                }
                for name, values in sorted(self.scores.items())
            },
            **self.costs,
        }


def _share(part: int, whole: int) -> float | None:
    return round(part / whole, 6) if whole else None


def conclude(
    folder: RowFolder,
    entries: Sequence[ManifestEntry],
    writer: Writer,
    sections: Sequence[str],
    minimums: Mapping[str, float],
    corrections: Mapping[str, Correction],
) -> dict[str, Any]:
    """Write ``rows.jsonl``, ``manifest.jsonl`` and ``summary.json`` from what all processes have written so far.

    Args:
        folder: The folder.
        entries: All clips of the manifest.
        writer: Who writes the chains of thought.
        sections: Names of the sections.
        minimums: Minimum score of rewards.
        corrections: What a person says about rows, by id.

    Returns:
        The summary.
    """
    index, summary = folder.index(), Summary(minimums)
    keys = [(entry.id, request_of(entry, writer)) for entry in entries]
    present = [(entry, key) for entry, key in zip(entries, keys, strict=True) if key in index]
    outdated = [
        name for name, request in keys if name in corrections and corrections[name].request not in ("", request)
    ]

    def rows() -> Iterator[CotRow]:
        for entry, key in present:
            correction = None if entry.id in outdated else corrections.get(entry.id)
            columns = columns_of(entry, folder.folder, sections)
            yield decided(replace(index.row(key), clip=columns), minimums, correction)

    def lines() -> Iterator[bytes]:
        for row in rows():
            summary.add(row)
            yield row.line()

    folder.write_lines(ROWS, lines())
    folder.write_lines(
        MANIFEST, (json_text({"id": row.id, **row.clip, **strategy_plans(row)}) for row in rows() if row.accepted)
    )
    values = {
        "clips": len(entries),
        "left": len(entries) - len(present),
        "outdated_corrections": outdated,
        **summary.values(folder.settings["gates"]),
        **_reasons(index, keys),
    }
    folder.write_summary(values)
    return values


def _reasons(index: RowIndex, keys: Sequence[tuple[str, str]]) -> dict[str, dict[str, str]]:
    """Why clips have no row, by id."""
    found = {key: index.reasons[key] for key in keys if key in index.reasons and key not in index}
    return {
        kind: {key[0]: str(values[kind]) for key, values in found.items() if kind in values}
        for kind in ("failed", "waiting")
    }
