"""What a folder of chain-of-thought rows contains: gates, scores, lengths, classes, events, and who wrote them."""

from __future__ import annotations

import math
import re
from collections import Counter
from dataclasses import dataclass, field
from statistics import fmean
from typing import TYPE_CHECKING, Any

from prismaudio.cot.rows import PARTS, ROWS, SUMMARY, CotRow
from prismaudio.errors import DataError, reason
from prismaudio.untrusted import MAX_TABLE_BYTES, check_file, load_json, parse_json, read_small

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from prismaudio.plan.story import Story

QUANTILES = {"q05": 0.05, "q25": 0.25, "median": 0.5, "q75": 0.75, "q95": 0.95}
SIDE_DEG = 8.0
"""Azimuths beyond it count as left or right, others as straight ahead."""
COT = "cot"
"""Name of the undivided chain of thought among the lengths of sections."""
_NUMBER = re.compile(r"[+-]?\d+(?:\.\d+)?")
_QUOTED = re.compile(r"'[^']*'|\"[^\"]*\"")


# Rows ----------------------------------------------------------------------------------------------------------------
@dataclass
class CotFolder:
    """What a folder of rows contains.

    Args:
        rows: The rows, by id.
        damaged: Why lines are left out, by file and line.
        failed: Why clips have no row, by id.
        waiting: Why models have not answered about clips, by id.
        rewards: Names of the rewards that the build scored with.
        minimums: Minimum scores of rewards.
    """

    rows: dict[str, CotRow] = field(default_factory=dict)
    damaged: dict[str, str] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)
    waiting: dict[str, str] = field(default_factory=dict)
    rewards: list[str] = field(default_factory=list)
    minimums: dict[str, float] = field(default_factory=dict)

    @classmethod
    def read(cls, folder: Path) -> CotFolder:
        """Read a folder; lines that are damaged are left out.

        Args:
            folder: Folder that ``prismaudio cot build`` wrote; of a build that is not finished, the files of its
                processes are read.

        Raises:
            DataError: It is not such a folder, or has no rows that can be read.
        """
        if not folder.is_dir():
            raise DataError(f"{folder} is not a folder; expected one that prismaudio cot build wrote")
        files = [folder / ROWS] if (folder / ROWS).exists() else sorted(folder.glob(PARTS))
        if not files:
            raise DataError(f"{folder} has no {ROWS}; expected a folder that prismaudio cot build wrote")
        found = cls()
        for file in files:
            try:
                check_file(file, MAX_TABLE_BYTES)
                with file.open("rb") as opened:
                    for number, line in enumerate(opened, 1):
                        if file.name == ROWS or line.endswith(b"\n"):  # else a process is writing it
                            found._add(line, f"{file.name}, line {number}")
            except OSError as error:
                raise DataError(f"cannot read {file}: {reason(error)}") from error
        found._add_summary(folder / SUMMARY)
        if not found.rows:
            why = next(iter(found.damaged.values()), "")
            raise DataError(f"{folder} has no rows{f' that can be read: {why}' * bool(why)}; run prismaudio cot build")
        return found

    def _add(self, line: bytes, where: str) -> None:
        try:
            values = parse_json(line, where) if line.strip() else None
            if isinstance(values, dict) and isinstance(values.get("id"), str):
                for kind, reasons in (("failed", self.failed), ("waiting", self.waiting)):
                    if isinstance(values.get(kind), str):
                        reasons[values["id"]] = values[kind]
                        return
            if values is not None:
                row = checked(CotRow.read(values))
                self.rows[row.id] = row
                self.failed.pop(row.id, None)
                self.waiting.pop(row.id, None)
        except DataError as error:
            text = str(error)
            self.damaged[where] = text if where in text else f"{where}: {text}"

    def _add_summary(self, path: Path) -> None:
        """Add what the summary of a finished build says, as far as it can be read."""
        try:
            summary = load_json(read_small(path, MAX_TABLE_BYTES))
        except (OSError, ValueError):
            return
        if not isinstance(summary, dict):
            return
        for kind, reasons in (("failed", self.failed), ("waiting", self.waiting)):
            reasons.update({name: str(why) for name, why in _items(summary, kind)})
        settings = summary.get("settings")
        self.rewards = [name for name, _ in _items(settings, "rewards")]
        for name, score in _items(summary, "scores"):
            minimum = score.get("threshold") if isinstance(score, dict) else None
            if isinstance(minimum, int | float):
                self.minimums[name] = float(minimum)


def _items(values: Any, key: str) -> list[tuple[str, Any]]:
    found = values.get(key) if isinstance(values, dict) else None
    return list(found.items()) if isinstance(found, dict) else []


def checked(row: CotRow) -> CotRow:
    """A row whose texts are texts and whose numbers are finite.

    Raises:
        DataError: They are not.
    """
    reasons = [reason for reason in row.gates.values() if reason is not None]
    texts = [*row.sections.values(), *row.warnings, *row.skipped.values(), *reasons]
    if not all(isinstance(text, str) for text in texts):
        raise DataError("a section, a warning or a reason is not text")
    if not all(isinstance(origin, dict) for origin in row.origins.values()):
        raise DataError("an origin is not an object")
    numbers = [row.duration_s, *row.scores.values()]
    if not all(isinstance(number, int | float) and math.isfinite(number) for number in numbers):
        raise DataError("the duration or a score is not a finite number")
    return row


# Statistics ----------------------------------------------------------------------------------------------------------
@dataclass
class GateCounts:
    """How often a gate passed and rejected rows, and how often it did not apply.

    Args:
        n_passed: Rows that passed.
        rejected: Reason of each rejected row, by id.
        skipped: Why the gate did not apply to a row, by id.
        accepted_example: The first row that passed all gates, this one among them; None if there is none.
    """

    n_passed: int = 0
    rejected: dict[str, str] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)
    accepted_example: str | None = None

    @property
    def rate(self) -> float | None:
        """Share of rejected rows among those to which the gate applies."""
        n_checked = self.n_passed + len(self.rejected)
        return len(self.rejected) / n_checked if n_checked else None

    def describe(self) -> dict[str, Any]:
        """The counts as JSON types."""
        return {
            "passed": self.n_passed,
            "rejected": len(self.rejected),
            "rate": self.rate,
            "not_applicable": len(self.skipped),
            "reasons": grouped(self.rejected),
            "not_applicable_reasons": grouped(self.skipped),
            "examples": {"accepted": self.accepted_example, "rejected": next(iter(self.rejected), None)},
        }


@dataclass
class CotStatistics:
    """Statistics of rows.

    Args:
        n_rows: Number of rows.
        n_accepted: Number of accepted rows.
        n_corrected: Number of rows that a person edited.
        folder: The folder that the rows are in.
        gates: Counts by gate.
        scores: Values by reward.
        n_unscored: Number of rows that a reward could not score, by reward.
        n_words: Number of words of each section, and of the undivided chain of thought, by name.
        classes: Number of rows that name a source, by noun.
        n_events: Number of onsets of each row.
        times_s: Times of all onsets in seconds.
        azimuths_deg: Directions of the sources that state one, at their first onset.
        n_unplaced: Number of sources without a direction.
        n_moving: Number of sources that move.
        written_by: Number of rows by section and planner, model and prompt.
        n_tokens: Number of tokens of prompts and of answers.
        seconds: Seconds that the models took.
    """

    folder: CotFolder
    n_rows: int = 0
    n_accepted: int = 0
    n_corrected: int = 0
    gates: dict[str, GateCounts] = field(default_factory=dict)
    scores: dict[str, list[float]] = field(default_factory=dict)
    n_unscored: Counter[str] = field(default_factory=Counter)
    n_words: dict[str, list[int]] = field(default_factory=dict)
    classes: Counter[str] = field(default_factory=Counter)
    n_events: list[int] = field(default_factory=list)
    times_s: list[float] = field(default_factory=list)
    azimuths_deg: list[float] = field(default_factory=list)
    n_unplaced: int = 0
    n_moving: int = 0
    written_by: Counter[tuple[str, str, str, str]] = field(default_factory=Counter)
    n_tokens: Counter[str] = field(default_factory=Counter)
    seconds: float = 0.0

    def add(self, row: CotRow, story: Story) -> None:
        """Count one row.

        Args:
            row: The row.
            story: What its sections state.
        """
        self.n_rows += 1
        self.n_accepted += row.accepted
        self.n_corrected += row.corrected
        for name, why in row.gates.items():
            gate = self.gates.setdefault(name, GateCounts())
            if why is not None:
                gate.rejected[row.id] = why
                continue
            gate.n_passed += 1
            if gate.accepted_example is None and row.accepted:
                gate.accepted_example = row.id
        for name, why in row.skipped.items():
            if name in self.folder.rewards:
                self.n_unscored[name] += 1
            else:
                self.gates.setdefault(name, GateCounts()).skipped[row.id] = why
        for name, score in row.scores.items():
            self.scores.setdefault(name, []).append(score)
        texts = {**row.sections, COT: row.cot} if row.cot else row.sections
        for name, text in texts.items():
            self.n_words.setdefault(name, []).append(len(text.split()))
        self._add_events(story)
        self._add_origins(row.origins)

    def _add_events(self, story: Story) -> None:
        self.classes.update({source.what for source in story.sources})
        times_s = [time_s for source in story.sources for time_s in source.onsets_s]
        self.n_events.append(len(times_s))
        self.times_s += times_s
        directions = [source.azimuth_deg for source in story.sources if source.azimuth_deg is not None]
        self.azimuths_deg += [first for first, _ in directions]
        self.n_moving += sum(first != last for first, last in directions)
        self.n_unplaced += len(story.sources) - len(directions)

    def _add_origins(self, origins: Mapping[str, Mapping[str, Any]]) -> None:
        for name, origin in origins.items():
            planner, model, prompt = (str(origin.get(key) or "") for key in ("planner", "model", "prompt"))
            self.written_by[name, planner, model, prompt] += 1
            for key, into in (("prompt_tokens", "prompt"), ("tokens", "answer")):
                self.n_tokens[into] += int(_number(origin.get(key)))
            self.seconds += _number(origin.get("seconds"))

    def _score(self, name: str) -> dict[str, Any]:
        values, minimum = self.scores.get(name, []), self.folder.minimums.get(name)
        return {
            **(distribution(values) or {"n": 0}),
            "not_scored": self.n_unscored[name],
            "threshold": minimum,
            "below": 0 if minimum is None else sum(value < minimum for value in values),
        }

    def sides(self) -> dict[str, int]:
        """Number of sources by side at their first onset, of those that move, and of those without a direction."""
        left = sum(azimuth < -SIDE_DEG for azimuth in self.azimuths_deg)
        right = sum(azimuth > SIDE_DEG for azimuth in self.azimuths_deg)
        return {
            "left": left,
            "ahead": len(self.azimuths_deg) - left - right,
            "right": right,
            "not_stated": self.n_unplaced,
            "moving": self.n_moving,
        }

    def describe(self) -> dict[str, Any]:
        """The statistics as JSON types."""
        keys = ("section", "planner", "model", "prompt")
        return {
            "rows": self.n_rows,
            "accepted": self.n_accepted,
            "rejected": self.n_rows - self.n_accepted,
            "corrected": self.n_corrected,
            "failed": self.folder.failed,
            "waiting": self.folder.waiting,
            "damaged": self.folder.damaged,
            "gates": {name: gate.describe() for name, gate in self.gates.items()},
            "scores": {name: self._score(name) for name in dict.fromkeys([*self.scores, *self.n_unscored])},
            "words": {name: distribution(values) for name, values in self.n_words.items()},
            "classes": dict(self.classes.most_common()),
            "events": {
                "total": sum(self.n_events),
                "of_a_row": distribution(self.n_events),
                "times_s": distribution(self.times_s),
                "azimuths_deg": distribution(self.azimuths_deg),
                "sides": self.sides(),
            },
            "written_by": [{**dict(zip(keys, who, strict=True)), "rows": n} for who, n in self.written_by.items()],
            "tokens": {name: self.n_tokens[name] for name in ("prompt", "answer")},
            "seconds": round(self.seconds, 3),
        }


def _number(value: object) -> float:
    return float(value) if isinstance(value, int | float) and math.isfinite(value) else 0.0


def distribution(values: Sequence[float]) -> dict[str, float] | None:
    """Number, mean and quantiles of values; None without values.

    Example:
        >>> distribution([1, 2, 3, 4, 10])
        {'n': 5, 'mean': 4.0, 'q05': 1.2, 'q25': 2.0, 'median': 3.0, 'q75': 4.0, 'q95': 8.8}
    """
    if not values:
        return None
    ordered = sorted(values)
    found: dict[str, float] = {"n": len(ordered), "mean": round(fmean(ordered), 6)}
    for name, share in QUANTILES.items():
        place = share * (len(ordered) - 1)
        low = ordered[math.floor(place)]
        found[name] = round(low + (ordered[math.ceil(place)] - low) * (place % 1), 6)
    return found


def grouped(reasons: Mapping[str, str]) -> list[dict[str, Any]]:
    """Count reasons that differ only in numbers and quoted words, the most frequent first.

    Args:
        reasons: Reason by row.

    Returns:
        Objects with the ``reason``, where ``…`` stands for what differs, the number of ``rows``, and one of them as an
        ``example``.

    Example:
        >>> grouped({"a": "a sound at 9.10 s", "b": "a sound at 7.50 s", "c": "it names 'dog.mp4'"})[0]
        {'reason': 'a sound at … s', 'rows': 2, 'example': 'a'}
    """
    groups: dict[str, dict[str, str]] = {}
    for name, why in reasons.items():
        general = _NUMBER.sub("…", _QUOTED.sub("…", why))
        groups.setdefault(general, {})[name] = why
    most = sorted(groups.items(), key=lambda item: -len(item[1]))
    return [
        {
            "reason": general if len(set(found.values())) > 1 else next(iter(found.values())),
            "rows": len(found),
            "example": next(iter(found)),
        }
        for general, found in most
    ]


def inspect_rows(folder: CotFolder, on_row: Callable[[CotRow, Story], None] = lambda *_: None) -> CotStatistics:
    """Compute the statistics of a folder of rows.

    Args:
        folder: The folder.
        on_row: Called with each row and what its sections state.
    """
    found = CotStatistics(folder)
    for row in folder.rows.values():
        story = row.plan.story
        found.add(row, story)
        on_row(row, story)
    return found
