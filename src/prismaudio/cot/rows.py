"""Rows of chain-of-thought data, and the folder in which they are collected."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from prismaudio.data.sharing import locked
from prismaudio.errors import DataError, MediaError, reason
from prismaudio.media.files import make_writable, replacing
from prismaudio.plan import Plan
from prismaudio.untrusted import escaped, json_text, load_json, read_small

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self

ROWS, MANIFEST, SUMMARY, CORRECTIONS = "rows.jsonl", "manifest.jsonl", "summary.json", "corrections.json"
PARTS = "rows-*of*.jsonl"
"""Names of the files to which processes append what is done."""
VALID = "Plan"
"""The check that every plan must pass: it has a section, and its times are inside the clip."""


@dataclass(frozen=True)
class CotRow:
    """The chain of thought of a clip, with what is known about its quality: one line of ``rows.jsonl``.

    Args:
        id: Id of the clip.
        clip: Its columns of the manifest, without plans and features; paths are relative to the folder of the rows.
        duration_s: Its duration in seconds.
        sections: The sections by dimension.
        cot: The undivided chain of thought; empty if the sections were written at once.
        origins: What is recorded about the sections, see :attr:`prismaudio.plan.Plan.origins`; as ``cot`` about the
            undivided text, and as ``second`` the sections of a second sampling and what it cost.
        warnings: Messages of the models that wrote it.
        gates: For each gate that was applied, None if the row passed, else the reason of the rejection.
        skipped: Gates and rewards that were not applied, with the reason.
        scores: Rewards of the real sound against the plan.
        corrected: Whether a person has changed the sections; gates and scores are those of the text before.
        accepted: Whether the row becomes training data.
        request: Hash of what the row was made from.
    """

    id: str
    clip: dict[str, Any]
    duration_s: float
    sections: dict[str, str]
    cot: str = ""
    origins: dict[str, dict[str, Any]] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    gates: dict[str, str | None] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)
    scores: dict[str, float] = field(default_factory=dict)
    corrected: bool = False
    accepted: bool = False
    request: str = ""

    @property
    def plan(self) -> Plan:
        """The sections as a plan."""
        return Plan(self.sections, self.warnings, self.origins)

    def line(self) -> bytes:
        """The row as a line of JSON."""
        return json_text(asdict(self))

    @classmethod
    def read(cls, values: Any) -> CotRow:
        """A row from a parsed line.

        Raises:
            DataError: It is not a row.
        """
        types = {f.name: _TYPES[str(f.type).partition("[")[0]] for f in fields(cls)}
        if not isinstance(values, dict) or not {"id", "clip", "duration_s", "sections"} <= values.keys():
            raise DataError("it is not a row of prismaudio cot build")
        for name, value in values.items():
            if name not in types or not isinstance(value, types[name]):
                raise DataError(f"it is not a row of prismaudio cot build: it has {name}: {str(value)[:40]!r}")
        return cls(**values)


_TYPES: dict[str, type | tuple[type, ...]] = {
    "str": str,
    "bool": bool,
    "float": (int, float),
    "dict": dict,
    "list": list,
}


def read_rows(folder: Path) -> Iterator[CotRow]:
    """The rows of a folder, in the order of the manifest.

    Args:
        folder: The output folder of ``prismaudio cot build``.

    Raises:
        DataError: There are no rows, or a line is damaged.
    """
    path = folder / ROWS
    try:
        with path.open("rb") as opened:
            for number, line in enumerate(opened, 1):
                try:
                    yield CotRow.read(load_json(line))
                except (ValueError, DataError) as error:
                    raise DataError(f"{path}, line {number}: {error}; run prismaudio cot build again") from error
    except OSError as error:
        raise DataError(
            f"cannot read {path}: {reason(error)}; expected a folder that prismaudio cot build wrote"
        ) from error


class RowFolder:
    """A folder to which one or several processes append rows; a context manager, which holds the lock of this process.

    Args:
        folder: The folder, which is made.
        settings: What the rows depend on besides their clips.
        number: Number of this process, from 1.
        world: Number of processes.

    Raises:
        DataError: Another process works for this part of the folder, or it has rows of other settings.
        MediaError: The folder cannot be written to.
    """

    def __init__(self, folder: Path, settings: Mapping[str, Any], number: int = 1, world: int = 1) -> None:
        self.folder = folder
        self.settings: dict[str, Any] = json.loads(json.dumps(settings, default=str))
        self.path = folder / f"rows-{number}of{world}.jsonl"
        self.world = world
        self._file: IO[bytes] | None = None

    def __enter__(self) -> Self:
        make_writable(self.folder)
        with locked(self.folder):
            self._check_settings()
            for other in self.folder.glob(PARTS):
                if not other.name.endswith(f"of{self.world}.jsonl") and _is_locked(other):
                    raise self._busy(other)
            try:
                self._file = self.path.open("a+b")
            except OSError as error:
                raise MediaError(f"cannot write {self.path}: {reason(error)}; choose another folder with -o") from error
            if not _lock(self._file):
                self._file.close()
                raise self._busy(self.path)
        self._drop_torn_line(self._file)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._file is not None:
            self._file.close()

    def _busy(self, path: Path) -> DataError:
        return DataError(
            f"another prismaudio cot build is writing {path}; wait until it has ended, or choose another folder with -o"
        )

    def _check_settings(self) -> None:
        """Compare the settings with those of the folder, or store them in a new one."""
        path = self.folder / SUMMARY
        found = _stored(path)
        if found is None:
            if path.exists() or any((self.folder / name).exists() for name in (ROWS, MANIFEST)):
                raise DataError(
                    f"{self.folder} has files that prismaudio cot build did not write; choose another folder with -o"
                )
            self.write_summary({})
        elif not any(map(_has_rows, self.folder.glob(PARTS))):
            self.write_summary({})  # of a build that wrote no row
        elif differing := list(_differences(found, self.settings)):
            raise DataError(
                f"{self.folder} has rows of other settings: {'; '.join(differing[:3])}; give the same, or choose "
                "another folder with -o, for which no question is asked again whose answer is in the cache"
            )

    @staticmethod
    def _drop_torn_line(file: IO[bytes]) -> None:
        """Remove what a process that was killed has begun to write."""
        file.seek(0)
        end = 0
        for line in file:
            end += len(line) if line.endswith(b"\n") else 0
        file.truncate(end)

    def append(self, values: Mapping[str, Any] | CotRow) -> None:
        """Append a row, or why a clip has none: ``{"id", "request", "failed" or "waiting"}``.

        Raises:
            MediaError: The disk is full.
        """
        assert self._file is not None  # noqa: S101 - a context manager
        try:
            self._file.write(values.line() if isinstance(values, CotRow) else json_text(values))
            self._file.flush()
        except OSError as error:
            raise MediaError(f"cannot write {self.path}: {reason(error)}; free some space, and run again") from error

    def index(self) -> RowIndex:
        """Everything that processes have written so far."""
        return RowIndex(sorted(self.folder.glob(PARTS)))

    def write_summary(self, values: Mapping[str, Any]) -> None:
        """Write the summary, with the settings."""
        with replacing(self.folder / SUMMARY) as part:
            part.write_bytes(json_text({"settings": self.settings, **values}, indent=2))

    def write_lines(self, name: str, lines: Iterator[bytes]) -> None:
        """Write a file of the folder."""
        with replacing(self.folder / name) as part, part.open("wb") as opened:
            opened.writelines(lines)


class RowIndex:
    """Where the last line about each clip is; other lines of a clip are older.

    Args:
        paths: Files of processes, which may be writing them.
    """

    def __init__(self, paths: Sequence[Path]) -> None:
        self._rows: dict[tuple[str, str], tuple[Path, int]] = {}
        self.reasons: dict[tuple[str, str], dict[str, str]] = {}
        for path in paths:
            start = 0
            with path.open("rb") as opened:
                for line in opened:
                    if line.endswith(b"\n"):
                        self._add(path, start, line)
                    start += len(line)

    def _add(self, path: Path, start: int, line: bytes) -> None:
        with contextlib.suppress(ValueError, DataError, KeyError, TypeError):
            values = load_json(line)
            key = (values["id"], values["request"])
            if "failed" in values or "waiting" in values:
                self.reasons[key] = values
            else:
                CotRow.read(values)
                self._rows[key] = (path, start)

    def __contains__(self, key: tuple[str, str]) -> bool:
        return key in self._rows

    def row(self, key: tuple[str, str]) -> CotRow:
        """The row of a clip by its id and request."""
        path, start = self._rows[key]
        with path.open("rb") as opened:
            opened.seek(start)
            return CotRow.read(load_json(opened.readline()))


def _stored(path: Path) -> dict[str, Any] | None:
    """The settings in a summary; None if there is none of this program."""
    try:
        found = load_json(read_small(path))
    except (OSError, ValueError):
        return None
    settings = found.get("settings") if isinstance(found, dict) else None
    return settings if isinstance(settings, dict) else None


def _differences(old: Any, new: Any, name: str = "") -> Iterator[str]:
    """What differs between settings, one clause each."""
    if isinstance(old, dict) and isinstance(new, dict):
        for key in dict.fromkeys([*old, *new]):
            yield from _differences(old.get(key), new.get(key), f"{name} {key}".strip())
    elif old != new:
        yield f"{name} was {_brief(old)} and is {_brief(new)}"


def _brief(value: Any) -> str:
    text = "not there" if value is None else escaped(json.dumps(value, ensure_ascii=False))
    return text if len(text) <= 200 else f"{text[:200]}…"


def _lock(file: IO[bytes]) -> bool:
    """Lock an open file until it is closed, if the system supports it; False if another process holds the lock."""
    try:
        import fcntl
    except ImportError:  # Windows
        return True
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # a file system without locks
        return True
    return True


def _has_rows(part: Path) -> bool:
    """Whether a file of a process has a row, and not only reasons why clips have none."""
    with part.open("rb") as file:
        return any(b'"sections"' in line for line in file)


def _is_locked(path: Path) -> bool:
    with path.open("rb") as file:
        return not _lock(file)
