"""Results files in JSON lines or CSV: appended after each scored file, and resumed by the next run."""

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
from dataclasses import dataclass, field, replace
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
"""Maximum size of a results file."""


@dataclass
class ScoreRecord:
    """Scores of a file.

    Args:
        file: The file.
        request: Hash of everything that the scores depend on.
        scores: Scores by name.
        states: States of metrics for the value over all files, by name, if they are small.
        columns: Other columns of the file in a manifest.
    """

    file: str
    request: str
    scores: dict[str, Score]
    states: dict[str, Any] = field(default_factory=dict)
    columns: Mapping[str, Any] = field(default_factory=dict)


class ResultsFile(ABC):
    """A results file; existing records are kept, and new ones appended.

    Attributes:
        columns: Other columns of files in a manifest, by file; set before :meth:`start`.

    Args:
        target: The file, ``-`` for standard output.
        scorers: The scorers.
        sources: Files that are read for scoring and must not be overwritten.

    Raises:
        MediaError: The file contains something other than scores, or it is one of the sources.
    """

    def __init__(self, target: str, scorers: Iterable[Scorer], sources: Iterable[Path] = ()) -> None:
        self.path = None if target == STANDARD_OUTPUT else expanded(target)
        self.scorers = {scorer.name: scorer for scorer in scorers}
        self.records: dict[str, ScoreRecord] = {}
        self.columns: dict[str, Mapping[str, Any]] = {}
        if self.path is not None and self.path.exists():
            spare(self.path, sources)
            if not self.path.is_file():
                raise MediaError(f"{self.path} is not a file; expected a file for the scores")
            try:
                text = read_small(self.path, MAX_BYTES).decode("utf-8", "replace")
            except OSError as error:
                raise MediaError(
                    f"cannot read {self.path}: {reason(error)}; choose another file for the scores"
                ) from error
            self.records = {escaped(record.file): record for record in self.read(text)}
            if text.strip() and not self.records and not self.is_ours(text):
                raise MediaError(f"{self.path} exists and contains no scores; choose another file for the scores")

    def find(self, path: Path) -> ScoreRecord | None:
        """The record of a file, if there is one."""
        return self.records.get(escaped(str(path)))

    def start(self, rescored: Iterable[Path]) -> None:
        """Rewrite the file without totals and without the records of files that are scored again."""
        dropped = {escaped(str(path)) for path in rescored}
        now = {escaped(file): columns for file, columns in self.columns.items()}
        self.records = {
            file: replace(record, columns=now.get(file, record.columns))
            for file, record in self.records.items()
            if file not in dropped
        }
        text = self.head() + "".join(self.lines(record) for record in self.records.values())
        if self.path is None:
            sys.stdout.write(text)
            return
        with replacing(self.path) as part:
            part.write_bytes(escaped(text).encode())

    def add(self, record: ScoreRecord) -> None:
        """Append the record of a file."""
        self._append(self.lines(record))

    def finish(
        self,
        n_files: int,
        totals: Mapping[str, Mapping[str, Any]],
        failures: Sequence[str],
        notes: Sequence[str] = (),
    ) -> None:
        """Append the totals over all files, the failures and the notes."""
        self._append(self.total_lines(n_files, totals, failures, notes))

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
        """Whether a text without a complete record was written by this class."""

    @abstractmethod
    def read(self, text: str) -> Iterable[ScoreRecord]:
        """Parse the records in a text; incomplete lines are skipped."""

    @abstractmethod
    def lines(self, record: ScoreRecord) -> str:
        """The text of a record."""

    @abstractmethod
    def total_lines(
        self, n_files: int, totals: Mapping[str, Mapping[str, Any]], failures: Sequence[str], notes: Sequence[str]
    ) -> str:
        """The text of the totals over all files."""

    def head(self) -> str:
        """The header of the file."""
        return ""


class JsonLines(ResultsFile):
    """JSON lines: one object for each file, and a last one with the totals."""

    def is_ours(self, text: str) -> bool:
        """Also accept an incomplete first line."""
        line, ended, _ = text.partition("\n")
        return bool(re.match(r'{"(all|file": ".*", "scores)": {', line)) or (
            not ended and not line.endswith("}") and line.startswith('{"file": "'[: len(line)])
        )

    def read(self, text: str) -> Iterable[ScoreRecord]:
        """Parse the records in order; lines with a wrong checksum are skipped."""
        for line in text.split("\n"):
            try:
                fields = load_json(line)
                if fields.pop("check") == _checksum(fields):
                    scores = {name: _read_score(**score) for name, score in fields["scores"].items()}
                    columns = dict(fields.get("columns", {}))
                    yield ScoreRecord(fields["file"], fields["request"], scores, fields["states"], columns)
            except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError):
                continue

    def lines(self, record: ScoreRecord) -> str:
        """One line."""
        scores = {name: _plain(score) for name, score in record.scores.items()}
        fields = {"file": record.file, "scores": scores, "request": record.request, "states": record.states}
        if record.columns:
            fields["columns"] = dict(record.columns)
        return self._line(fields | {"check": _checksum(fields)})

    def _line(self, fields: Mapping[str, Any]) -> str:
        """A line of JSON; ASCII only on standard output, whose encoding is unknown."""
        return json.dumps(fields, ensure_ascii=self.path is None, allow_nan=False) + "\n"

    def total_lines(
        self, n_files: int, totals: Mapping[str, Mapping[str, Any]], failures: Sequence[str], notes: Sequence[str]
    ) -> str:
        """One line, with a description of each reward and metric."""
        about = {name: scorer_info(scorer) | dict(totals[name]) for name, scorer in self.scorers.items()}
        return self._line({"all": about, "files": n_files, "failures": list(failures), "notes": list(notes)})


class Csv(ResultsFile):
    """CSV: one row for each file and scorer; rows of totals, of failures and of notes have no file."""

    COLUMNS = (
        *("file", "name", "kind", "dimension", "value", "sd", "files"),
        *("lowest", "highest", "higher_is_better", "reason", "request"),
    )
    PREFIX = "manifest_"
    """Before the name of a column of a manifest that is one of these."""

    def is_ours(self, text: str) -> bool:
        """Compare the header."""
        return text.startswith(",".join(self.COLUMNS))

    def read(self, text: str) -> Iterable[ScoreRecord]:
        """Parse the records; a file is included if all its rows are complete."""
        records: dict[str, ScoreRecord] = {}
        for row in self._complete_rows(text):
            with suppress(ValueError, OverflowError):
                score = _read_score(row["value"], row["reason"])
                columns = {name.removeprefix(self.PREFIX): row[name] for name in row if name not in self.COLUMNS}
                columns = {name: value for name, value in columns.items() if value}
                record = records.setdefault(row["file"], ScoreRecord(row["file"], row["request"], {}, columns=columns))
                if row["request"] == record.request:
                    record.scores[row["name"]] = score
        return [record for record in records.values() if self.scorers.keys() <= record.scores.keys()]

    def _complete_rows(self, text: str) -> Iterator[dict[str, str]]:
        """Complete rows of files, up to the first CSV error."""
        with suppress(csv.Error):
            for row in csv.DictReader(io.StringIO(text if self.is_ours(text) else "", newline="")):
                if None not in row and None not in row.values() and row["file"] and row["request"]:
                    yield row

    def head(self) -> str:
        """Names of the columns."""
        out = io.StringIO()
        csv.writer(out, lineterminator="\n").writerow(self._names())
        return out.getvalue()

    def _names(self) -> list[str]:
        """All columns: those of every results file, and those of manifests."""
        held = [*(record.columns for record in self.records.values()), *self.columns.values()]
        return [*self.COLUMNS, *dict.fromkeys(self._name(name) for columns in held for name in columns)]

    def _name(self, column: str) -> str:
        is_taken = column in self.COLUMNS or column.startswith(self.PREFIX)
        return f"{self.PREFIX}{column}" if is_taken else column

    def lines(self, record: ScoreRecord) -> str:
        """A row for each score."""
        columns = {
            self._name(name): json.dumps(value, ensure_ascii=False) if isinstance(value, list | dict) else value
            for name, value in record.columns.items()
        }
        rows = (
            columns | {"file": record.file, "name": name, "request": record.request} | _plain(score)
            for name, score in record.scores.items()
        )
        return self._rows(rows)

    def total_lines(
        self, n_files: int, totals: Mapping[str, Mapping[str, Any]], failures: Sequence[str], notes: Sequence[str]
    ) -> str:
        """A row for each reward and metric, and one for each failure."""
        sums = [{"name": name} | dict(total) for name, total in totals.items()]
        said = [("failure", text) for text in failures] + [("note", text) for text in notes]
        return self._rows([*sums, *({"name": "", "kind": kind, "reason": text} for kind, text in said)])

    def _rows(self, rows: Iterable[Mapping[str, Any]]) -> str:
        out = io.StringIO()
        writer = csv.DictWriter(out, self._names(), extrasaction="ignore", lineterminator="\n")
        for row in rows:
            scorer = self.scorers.get(str(row["name"]))
            about = {} if scorer is None else scorer_info(scorer)
            lowest, highest = about.get("range", (None, None))
            own: dict[str, Any] = {k: v for k, v in about.items() if k in ("kind", "dimension", "higher_is_better")}
            writer.writerow({**own, "lowest": lowest, "highest": highest, **row})
        return out.getvalue()


def scorer_info(scorer: Scorer) -> dict[str, Any]:
    """Description of a reward or a metric."""
    return {
        "kind": scorer.kind,
        "dimension": scorer.dimension,
        "range": [bound if math.isfinite(bound) else None for bound in scorer.range],
        "higher_is_better": scorer.higher_is_better,
        "source": scorer.source,
    }


def _read_score(value: str | float | None, reason: str = "") -> Score:
    """Parse a stored score.

    Raises:
        ValueError: The value is not a finite number.
    """
    number = None if value in (None, "") else float(value)
    if number is not None and not math.isfinite(number):
        raise ValueError(f"{value} is not a score; expected a finite number")
    return Score(number, reason)


def _plain(score: Score) -> dict[str, Any]:
    return {"value": score.value} | ({"reason": score.reason} if score.reason else {})


def _checksum(fields: Mapping[str, Any]) -> str:
    """Checksum of a line, to detect incomplete ones."""
    return hashlib.blake2b(json.dumps(fields, sort_keys=True).encode(), digest_size=8).hexdigest()
