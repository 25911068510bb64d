"""A manifest: the list of clips to train on, as CSV, TSV or JSON lines."""

from __future__ import annotations

import csv
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from math import isfinite
from pathlib import Path
from typing import Any, TextIO

from prismaudio.errors import DataError, PlanError, PrismAudioError, first_of
from prismaudio.paths import expanded
from prismaudio.plan import CORE, Plan
from prismaudio.untrusted import MAX_TABLE_BYTES, MAX_TEXT_BYTES, check_file, is_text, parse_json, readable_name

FILES = ("video", "audio", "features", "latents")
"""Columns that name files; at least one of them is required."""
COLUMNS = ("id", *FILES, "caption", "plan", "start_s", "end_s", "split")
SPLITS = {"train": "train", "val": "val", "valid": "val", "validation": "val", "test": "test"}
"""Values of the column ``split`` and the splits that they stand for."""
SUFFIXES = (".csv", ".tsv", ".jsonl", ".ndjson")
EXPECTED = "expected .csv or .tsv with a header, or .jsonl with one object per line"
NAMED_FILES = 3
"""Maximum number of missing files that an error names; further ones are counted."""
MAX_COLUMNS = 1000
HEAD_BYTES = 4096
"""Bytes at the start of a file that are checked to be text."""
SHOWN = 80
"""Maximum number of characters of a value that an error shows."""


@dataclass(frozen=True)
class ManifestEntry:
    """One line of a manifest.

    Args:
        id: Name of the clip, unique in the manifest.
        video: Video file; None for audio without video.
        audio: Audio file; None for the audio track of the video.
        captions: Alternative descriptions of the audio.
        plans: Alternative plans.
        features: File with the features, and optionally the latents.
        latents: File with the latents.
        start_s: Start of the clip in its files, in seconds.
        end_s: End of the clip in its files, in seconds; None for the end of the file.
        split: ``"train"``, ``"val"``, ``"test"``, or empty if the manifest does not state it.
        columns: All values of the line by column, as they are written.
    """

    id: str
    video: Path | None = None
    audio: Path | None = None
    captions: tuple[str, ...] = ()
    plans: tuple[Plan, ...] = ()
    features: Path | None = None
    latents: Path | None = None
    start_s: float = 0.0
    end_s: float | None = None
    split: str = ""
    columns: Mapping[str, Any] = field(default_factory=dict, compare=False, repr=False)

    @property
    def texts(self) -> tuple[Plan, ...]:
        """The plans to train on; a caption is a plan with only a semantic section.

        Example:
            >>> ManifestEntry("a", captions=("A dog.",)).texts
            (Plan({'semantic': 'A dog.'}),)
        """
        if not self.plans:
            return tuple(Plan({"semantic": caption}) for caption in self.captions) or (Plan({}),)
        if not self.captions:
            return self.plans
        return tuple(
            plan if plan.get("semantic") else plan.replace({"semantic": self.captions[0]}) for plan in self.plans
        )


def read_manifest(
    path: str | Path,
    sections: Sequence[str] = CORE,
    *,
    some_may_lack: bool = False,
    plan_column: str = "plan",
    media: Path | None = None,
) -> list[ManifestEntry]:
    r"""Read a manifest.

    Args:
        path: A ``.csv``, ``.tsv`` or ``.jsonl`` file; the paths in it are relative to its folder.
        sections: Sections that plans may have; each may also be a column.
        some_may_lack: Whether files may be missing, as long as one of them exists, and lines with an id may name none.
        plan_column: The column with the plans, which may be another one than ``plan``.
        media: Folder that the paths of files are relative to, which need not exist; None for that of the manifest.

    Raises:
        DataError: It cannot be read, is empty, lacks a column, has a duplicate id, or names files that do not exist.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     _ = (Path(folder) / "dog.mp4").write_bytes(b"0")
        ...     _ = (Path(folder) / "clips.csv").write_text("video,caption\ndog.mp4,A dog barks.\n")
        ...     read_manifest(Path(folder) / "clips.csv")[0].id
        'dog'
    """
    file = expanded(path)
    rows = read_rows(file, [*COLUMNS, *sections, plan_column])
    _check_columns(file, rows, plan_column)
    may_lack = some_may_lack or media is not None
    lines = {
        line: _entry(file, line, cells, sections, plan_column, media or file.parent, may_lack=may_lack)
        for line, cells in rows
    }
    _check_ids(file, lines)
    if media is None:
        _check_files(file, lines, some_may_lack=some_may_lack)
    return list(lines.values())


def read_rows(file: Path, known: Sequence[str]) -> list[tuple[int, dict[str, Any]]]:
    """Read the cells of a table of clips by column, for a command with columns of its own.

    Args:
        file: A ``.csv``, ``.tsv`` or ``.jsonl`` file.
        known: Columns that the command reads; a column that looks like a misspelling of one is an error, and others
            are kept.

    Returns:
        Line number and cells of each line; text without surrounding space, or any value of a ``.jsonl``.

    Raises:
        DataError: It cannot be read or is empty.
    """
    rows = _rows(file)
    if not rows:
        raise DataError(f"the manifest {file} lists no clips; {EXPECTED}")
    _check_names(file, rows, known)
    return rows


def _rows(file: Path) -> list[tuple[int, dict[str, Any]]]:
    suffix = file.suffix.lower()
    if file.is_dir():
        raise DataError(f"{file} is a folder without features; {EXPECTED}, or a folder written by prismaudio extract")
    if suffix not in SUFFIXES:
        raise DataError(f"{file} is not a manifest: its name ends in {file.suffix or 'nothing'!r}; {EXPECTED}")
    try:
        check_file(file, MAX_TABLE_BYTES)
        with file.open("rb") as opened:
            if b"\0" in opened.read(HEAD_BYTES):
                raise DataError(f"cannot read the manifest {file}: it is not text in UTF-8; {EXPECTED}")
        return _csv_rows(file) if suffix in (".csv", ".tsv") else _json_rows(file)
    except FileNotFoundError as error:
        raise DataError(f"no such manifest: {file}") from error
    except (OSError, csv.Error) as error:
        raise DataError(f"cannot read the manifest {file}: {error}; {EXPECTED}") from error


def _csv_rows(file: Path) -> list[tuple[int, dict[str, Any]]]:
    with _open_text(file, newline="") as opened:
        reader = csv.DictReader(opened, strict=True, delimiter="\t" if file.suffix.lower() == ".tsv" else ",")
        rows = []
        for cells in reader:
            if None in cells:
                raise DataError(
                    f"{file}, line {reader.line_num}: more cells than the header has columns; "
                    "quote captions that contain commas"
                )
            rows.append((reader.line_num, {k.strip().lower(): (v or "").strip() for k, v in cells.items()}))
        return rows


def _json_rows(file: Path) -> list[tuple[int, dict[str, Any]]]:
    rows = []
    with _open_text(file) as opened:
        for number, line in enumerate(_lines(opened), 1):
            if line.strip():
                cells = parse_json(line, f"{file}, line {number}")
                if not isinstance(cells, dict):
                    raise DataError(f"{file}, line {number}: not an object; {EXPECTED}")
                rows.append((number, {str(key).lower(): value for key, value in cells.items()}))
    return rows


def _open_text(file: Path, newline: str | None = None) -> TextIO:
    """Open a manifest as text; file names in it may contain bytes that are not UTF-8."""
    return file.open(newline=newline, encoding="utf-8-sig", errors="surrogateescape")


def _lines(opened: TextIO) -> Iterator[str]:
    """Lines of a file, each read up to just over the maximum size."""
    while line := opened.readline(MAX_TEXT_BYTES + 1):
        yield line


def _check_names(file: Path, rows: Iterable[tuple[int, Mapping[str, Any]]], known: Sequence[str]) -> None:
    found = dict.fromkeys(name for _, cells in rows for name in cells)
    if len(found) > MAX_COLUMNS:
        raise DataError(f"the manifest {file} has {len(found)} columns; expected {MAX_COLUMNS} at most")
    for name in found:
        near = [] if name in known or len(name) > SHOWN else get_close_matches(name, known, n=1, cutoff=0.75)
        if near:
            raise DataError(f"the manifest {file} has a column {name!r}; did you mean {near[0]!r}?")


def _check_columns(file: Path, rows: Iterable[tuple[int, Mapping[str, Any]]], plan_column: str) -> None:
    found = dict.fromkeys(name for _, cells in rows for name in cells)
    has = f"it has {first_of([_shown(name)[1:-1] for name in found], NAMED_FILES) or 'none'}"
    if plan_column != "plan" and plan_column not in found:
        raise DataError(f"the manifest {file} has no column {plan_column!r} with plans; {has}")
    if not any(name in FILES for name in found):
        raise DataError(f"the manifest {file} has none of the columns {', '.join(FILES)}; {has}")


def _entry(
    file: Path, line: int, cells: Mapping[str, Any], sections: Sequence[str], plan_column: str, media: Path,
    *, may_lack: bool,
) -> ManifestEntry:  # fmt: skip
    where = f"{file}, line {line}"
    paths = {name: path_cell(where, media, name, cells.get(name)) for name in FILES}
    name = text_cell(where, "id", cells.get("id"))
    if not any(paths.values()) and not (may_lack and name):
        raise DataError(f"{where}: names no file; expected one of {', '.join(FILES)}")
    start_s, end_s = (
        seconds_cell(where, "start_s", cells.get("start_s")),
        seconds_cell(where, "end_s", cells.get("end_s")),
    )
    if end_s is not None and end_s <= (start_s or 0.0):
        raise DataError(f"{where}: end_s {end_s:g} is not after start_s {start_s or 0.0:g}")
    split = str(cells.get("split") or "").strip().lower()
    if split and split not in SPLITS:
        raise DataError(f"{where}: unknown split {_shown(split)}; expected {', '.join(SPLITS)}")
    if not name:
        first = next(path for path in paths.values() if path is not None)
        name = _usual_id(media, first) + ("" if start_s is None else f"@{start_s:g}")
    return ManifestEntry(
        id=name,
        captions=text_cells(where, cells.get("caption")),
        plans=plan_cells(where, file.parent, cells, sections, plan_column),
        start_s=start_s or 0.0,
        end_s=end_s,
        split=SPLITS.get(split, ""),
        columns=cells,
        **paths,
    )


def path_cell(where: str, folder: Path, name: str, value: Any) -> Path | None:
    """The file that a cell names, from the folder of the manifest; None if it is empty."""
    if value in (None, ""):
        return None
    if not isinstance(value, str):
        raise DataError(f"{where}: {name} is {_shown(value)}; expected the path of a file")
    try:
        possible = b"\0" not in os.fsencode(value)
    except UnicodeEncodeError:
        possible = False
    if not possible:
        raise DataError(f"{where}: {name} is {_shown(value)}, which cannot be the name of a file")
    try:
        return folder / expanded(value)
    except PrismAudioError as error:
        raise DataError(f"{where}: {name} {error}") from error


def _usual_id(folder: Path, path: Path) -> str:
    """The default id of a clip: the path of its file, relative to the manifest, without suffix."""
    path = path.relative_to(folder) if path.is_relative_to(folder) else path
    return readable_name(path.with_suffix("").as_posix().lstrip("/."))


def seconds_cell(where: str, name: str, value: Any) -> float | None:
    """The seconds of a cell; None if it is empty."""
    if value in (None, ""):
        return None
    try:
        seconds = float(value)
    except (TypeError, ValueError, OverflowError):
        seconds = -1.0
    if not 0 <= seconds < float("inf"):
        raise DataError(f"{where}: {name} is {_shown(value)}; expected seconds, 0 or more")
    return seconds


def text_cells(where: str, value: Any) -> tuple[str, ...]:
    """The captions of a cell: one, or in a ``.jsonl`` several."""
    values = value if isinstance(value, list) else [value]
    texts = (text_cell(where, "caption", item) for item in values)
    return tuple(" ".join(text.split()) for text in texts if text)


def text_cell(where: str, name: str, value: Any) -> str:
    """The text of a cell; numbers in a .jsonl are converted to text."""
    if value is None:
        return ""
    if not isinstance(value, str | int | float):
        raise DataError(f"{where}: {name} is {_shown(value)}; expected text")
    text = str(value).strip()
    if not is_text(text) or "\0" in text:
        raise DataError(f"{where}: {name} is {_shown(text)}, which is not text in UTF-8; save the manifest as UTF-8")
    return text


def _shown(value: Any) -> str:
    """A value for an error message, truncated."""
    text = repr(value)
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}…"


def plan_cells(
    where: str, folder: Path, cells: Mapping[str, Any], sections: Sequence[str], plan_column: str = "plan"
) -> tuple[Plan, ...]:
    """Plans of their column, with the sections of columns named after sections."""
    columns = {name: text for name in sections if (text := text_cell(where, name, cells.get(name)))}
    value = cells.get(plan_column)
    values = [item for item in (value if isinstance(value, list) else [value]) if item not in (None, "")]
    try:
        plans = tuple(_plan(where, folder, item, sections) for item in values)
    except PlanError as error:
        raise DataError(f"{where}: {error}") from error
    if not columns:
        return plans
    return tuple(plan.replace(columns) for plan in plans) or (Plan(columns),)


def plan_cell(where: str, folder: Path, cells: Mapping[str, Any], sections: Sequence[str]) -> str:
    """The plan of a row for a command that reads it later: its text, or the path of its file; empty for none.

    The first of several plans is taken. With columns of sections, or with a caption that it is to be completed by, it
    is read now.
    """
    value, captions = cells.get("plan"), text_cells(where, cells.get("caption"))
    if isinstance(value, str) and not captions and not any(cells.get(name) for name in sections):
        text = text_cell(where, "plan", value) if "<" in value else value
        return text if not text or "<" in text else str(path_cell(where, folder, "plan", text))
    plans = plan_cells(where, folder, cells, sections)
    return str(ManifestEntry("", captions=captions, plans=plans).texts[0]) if plans else ""


def check_whole(where: str, cells: Mapping[str, Any], command: str) -> None:
    """Check that a row is a whole file, for a command that takes no pieces of files.

    Raises:
        DataError: It states where its piece starts or ends.
    """
    stated = {name: seconds_cell(where, name, cells.get(name)) for name in ("start_s", "end_s")}
    for name, seconds in stated.items():
        if seconds or (name == "end_s" and seconds is not None):
            raise DataError(
                f"{where}: {name} is {_shown(cells[name])}; {command} takes whole files, so cut the piece into a file"
            )


def other_columns(cells: Mapping[str, Any], known: Sequence[str]) -> dict[str, Any]:
    """The columns of a row that a command does not read, without empty cells and numbers that are not finite."""
    return {
        name: value
        for name, value in cells.items()
        if name not in known and value not in (None, "") and _is_finite(value)
    }


def _is_finite(value: Any) -> bool:
    if isinstance(value, dict | list):
        return all(map(_is_finite, value.values() if isinstance(value, dict) else value))
    return not isinstance(value, float) or isfinite(value)


def _plan(where: str, folder: Path, value: Any, sections: Sequence[str]) -> Plan:
    if isinstance(value, dict):
        texts = {text_cell(where, "plan", name): text_cell(where, "plan", text) for name, text in value.items()}
        return Plan.parse(str(Plan(texts)), sections)
    if isinstance(value, str) and "<" not in value:
        path = path_cell(where, folder, "plan", value)
        return Plan({}) if path is None else _plan_file(where, path, sections)
    return Plan.parse(text_cell(where, "plan", value), sections)


def _plan_file(where: str, path: Path, sections: Sequence[str]) -> Plan:
    try:
        check_file(path, MAX_TEXT_BYTES)
    except DataError as error:
        raise DataError(f"{where}: cannot read the plan: {error}") from error
    except OSError as error:
        raise DataError(f"{where}: cannot read the plan {path}: {error.strerror}") from error
    return Plan.load(path, sections)


def _check_ids(file: Path, lines: Mapping[int, ManifestEntry]) -> None:
    seen: dict[str, int] = {}
    for line, entry in lines.items():
        if entry.id in seen:
            raise DataError(
                f"{file}, line {line}: the id {entry.id!r} is already used in line {seen[entry.id]}; "
                "give each clip a unique id in the column 'id'"
            )
        seen[entry.id] = line


def _check_files(file: Path, lines: Mapping[int, ManifestEntry], *, some_may_lack: bool) -> None:
    named = [
        (line, path)
        for line, entry in lines.items()
        for path in (entry.video, entry.audio, entry.features, entry.latents)
        if path is not None
    ]
    there = {path: path.exists() for path in dict.fromkeys(path for _, path in named)}  # many clips of one file
    missing = [f"{path} (line {line})" for line, path in named if not there[path]]
    if missing and not (some_may_lack and len(missing) < len(named)):
        raise DataError(
            f"the manifest {file} names {len(missing)} file{'s' * (len(missing) > 1)} that do not exist: "
            f"{first_of(missing, NAMED_FILES)}; paths are relative to its folder"
        )
    regular = {path: path.is_file() for path, exists in there.items() if exists}
    if others := [f"{path} (line {line})" for line, path in named if not regular.get(path, True)]:
        raise DataError(f"the manifest {file} names paths that are not regular files: {first_of(others, NAMED_FILES)}")
