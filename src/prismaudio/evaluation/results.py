"""Files of results: JSON lines or CSV, written as scores come, to which the next run adds."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import math
import re
import sys
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from prismaudio.errors import MediaError, reason
from prismaudio.media import replacing
from prismaudio.media.files import spare
from prismaudio.paths import expanded
from prismaudio.scorers import Score
from prismaudio.untrusted import escaped, load_json, read_small

if TYPE_CHECKING:
    from pathlib import Path

    from prismaudio.scorers import Scorer


STANDARD_OUTPUT = "-"
MAX_BYTES = 1 << 30
"""A file of scores is smaller than this."""


@dataclass
class Record:
    """Scores of a file.

    Args:
        file: The file.
        request: Hash of what the scores depend on.
        scores: By name.
        states: What metrics add to their value of all files, by name, where that is little.
    """

    file: str
    request: str
    scores: dict[str, Score]
    states: dict[str, Any] = field(default_factory=dict)


class ResultsFile(ABC):
    """A file of scores; what is there is kept, and added to.

    Args:
        target: The file, ``-`` for standard output.
        scorers: What the scores are of.
        sources: The files that are read for the scores.

    Raises:
        MediaError: There is something else than scores in the file, or it is one of the sources.
    """

    def __init__(self, target: str, scorers: Iterable[Scorer], sources: Iterable[Path] = ()) -> None:
        self.path = None if target == STANDARD_OUTPUT else expanded(target)
        self.scorers = {scorer.name: scorer for scorer in scorers}
        self.records: dict[str, Record] = {}
        if self.path is not None and self.path.exists():
            spare(self.path, sources)
            if not self.path.is_file():
                raise MediaError(f"{self.path} is no file; name a file for the scores")
            try:
                text = read_small(self.path, MAX_BYTES).decode("utf-8", "replace")
            except OSError as error:
                raise MediaError(
                    f"cannot read {self.path}: {reason(error)}; name another file for the scores"
                ) from error
            self.records = {escaped(record.file): record for record in self.read(text)}
            if text.strip() and not self.records and not self.is_ours(text):
                raise MediaError(f"{self.path} exists and holds no scores; choose another name for them")

    def find(self, path: Path) -> Record | None:
        """The scores of a file, if they are there."""
        return self.records.get(escaped(str(path)))

    def start(self, again: Iterable[Path]) -> None:
        """Write what stays: everything but totals, and the files that are scored again."""
        dropped = {escaped(str(path)) for path in again}
        self.records = {file: record for file, record in self.records.items() if file not in dropped}
        text = self.head() + "".join(self.lines(record) for record in self.records.values())
        if self.path is None:
            sys.stdout.write(text)
            return
        with replacing(self.path) as part:
            part.write_bytes(escaped(text).encode())

    def add(self, record: Record) -> None:
        """Append the scores of a file."""
        self._append(self.lines(record))

    def finish(self, n_files: int, totals: Mapping[str, Mapping[str, Any]], failures: Sequence[str]) -> None:
        """Append what all files come to, and what failed."""
        self._append(self.total_lines(n_files, totals, failures))

    def _append(self, text: str) -> None:
        if self.path is None:
            sys.stdout.write(text)
            sys.stdout.flush()
            return
        try:
            with self.path.open("ab") as file:
                file.write(escaped(text).encode())
        except OSError as error:
            raise MediaError(f"cannot write {self.path}: {error.strerror}; choose another file") from error

    @abstractmethod
    def is_ours(self, text: str) -> bool:
        """Whether a text without a record was written by this class."""

    @abstractmethod
    def read(self, text: str) -> Iterable[Record]:
        """The records in a text; lines that were not written to their end are left out."""

    @abstractmethod
    def lines(self, record: Record) -> str:
        """The text of a record."""

    @abstractmethod
    def total_lines(self, n_files: int, totals: Mapping[str, Mapping[str, Any]], failures: Sequence[str]) -> str:
        """The text of what all files come to."""

    def head(self) -> str:
        """What the text begins with."""
        return ""


class JsonLines(ResultsFile):
    """An object a line: one for each file, and a last one for all of them."""

    def is_ours(self, text: str) -> bool:
        """A first line that was not written to its end is a beginning, too."""
        line, ended, _ = text.partition("\n")
        return bool(re.match(r'{"(all|file": ".*", "scores)": {', line)) or (
            not ended and not line.endswith("}") and line.startswith('{"file": "'[: len(line)])
        )

    def read(self, text: str) -> Iterable[Record]:
        """Records, in order; a line that is not as it was written is left out."""
        for line in text.split("\n"):
            try:
                held = load_json(line)
                if held.pop("check") == _check(held):
                    scores = {name: _read_score(**said) for name, said in held["scores"].items()}
                    yield Record(held["file"], held["request"], scores, held["states"])
            except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError):
                continue

    def lines(self, record: Record) -> str:
        """One line."""
        scores = {name: _plain(score) for name, score in record.scores.items()}
        held = {"file": record.file, "scores": scores, "request": record.request, "states": record.states}
        return self._line(held | {"check": _check(held)})

    def _line(self, held: Mapping[str, Any]) -> str:
        """A line; on standard output, whose encoding may be any, of ASCII alone."""
        return json.dumps(held, ensure_ascii=self.path is None, allow_nan=False) + "\n"

    def total_lines(self, n_files: int, totals: Mapping[str, Mapping[str, Any]], failures: Sequence[str]) -> str:
        """One line, with what is known of each reward and metric."""
        about = {name: described(scorer) | dict(totals[name]) for name, scorer in self.scorers.items()}
        return self._line({"all": about, "files": n_files, "failures": list(failures)})


class Csv(ResultsFile):
    """A row for each file and reward or metric; rows of all files together, and those of failures, have no file."""

    COLUMNS = (
        *("file", "name", "kind", "dimension", "value", "sd", "files"),
        *("lowest", "highest", "higher_is_better", "reason", "request"),
    )

    def is_ours(self, text: str) -> bool:
        """It has our columns."""
        return text.startswith(",".join(self.COLUMNS))

    def read(self, text: str) -> Iterable[Record]:
        """Records; a file counts when all its rows are there."""
        records: dict[str, Record] = {}
        for row in self._whole_rows(text):
            with suppress(ValueError, OverflowError):
                score = _read_score(row["value"], row["reason"])
                record = records.setdefault(row["file"], Record(row["file"], row["request"], {}))
                if row["request"] == record.request:
                    record.scores[row["name"]] = score
        return [record for record in records.values() if self.scorers.keys() <= record.scores.keys()]

    def _whole_rows(self, text: str) -> Iterator[dict[str, str]]:
        """Rows of files that were written to their end, up to where the text is no CSV any more."""
        with suppress(csv.Error):
            for row in csv.DictReader(io.StringIO(text if self.is_ours(text) else "", newline="")):
                if None not in row and None not in row.values() and row["file"] and row["request"]:
                    yield row

    def head(self) -> str:
        """Names of the columns."""
        return ",".join(self.COLUMNS) + "\n"

    def lines(self, record: Record) -> str:
        """A row for each score."""
        rows = (
            {"file": record.file, "name": name, "request": record.request} | _plain(score)
            for name, score in record.scores.items()
        )
        return self._rows(rows)

    def total_lines(self, n_files: int, totals: Mapping[str, Mapping[str, Any]], failures: Sequence[str]) -> str:
        """A row for each reward and metric, and one for each failure."""
        sums = [{"name": name} | dict(total) for name, total in totals.items()]
        return self._rows([*sums, *({"name": "", "kind": "failure", "reason": text} for text in failures)])

    def _rows(self, rows: Iterable[Mapping[str, Any]]) -> str:
        out = io.StringIO()
        writer = csv.DictWriter(out, self.COLUMNS, extrasaction="ignore", lineterminator="\n")
        for row in rows:
            scorer = self.scorers.get(str(row["name"]))
            about = {} if scorer is None else described(scorer)
            lowest, highest = about.get("range", (None, None))
            writer.writerow({**about, "lowest": lowest, "highest": highest, **row})
        return out.getvalue()


def described(scorer: Scorer) -> dict[str, Any]:
    """What is known of a reward or a metric before it scored anything."""
    return {
        "kind": scorer.kind,
        "dimension": scorer.dimension,
        "range": [bound if math.isfinite(bound) else None for bound in scorer.range],
        "higher_is_better": scorer.higher_is_better,
        "source": scorer.source,
    }


def _read_score(value: str | float | None, reason: str = "") -> Score:
    """The score that was written.

    Raises:
        ValueError: It is no number.
    """
    number = None if value in (None, "") else float(value)
    if number is not None and not math.isfinite(number):
        raise ValueError(f"{value} is no score")
    return Score(number, reason)


def _plain(score: Score) -> dict[str, Any]:
    return {"value": score.value} | ({"reason": score.reason} if score.reason else {})


def _check(held: Mapping[str, Any]) -> str:
    """What a line is known to be whole by."""
    return hashlib.blake2b(json.dumps(held, sort_keys=True).encode(), digest_size=8).hexdigest()
