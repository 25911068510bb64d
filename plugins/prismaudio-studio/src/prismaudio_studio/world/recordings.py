"""The table of recordings: what may be used, who made it, and what is held out."""

from __future__ import annotations

import csv
import hashlib
import io
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from prismaudio.data.manifest import path_cell, read_rows, text_cell
from prismaudio.errors import DataError, first_of
from prismaudio.paths import expanded

COLUMNS = ("file", "class", "kind", "seconds", "rate_hz", "channels", "source", "fold", "author", "licence", "heard")
KINDS = ("one-shot", "sustained")
HELD_OUT_FOLDS = ("5", "test")
"""Values of the column ``fold`` that are held out; every other value is trained on."""
HELD_OUT_SHARE = 0.2
"""Share of the sources without a fold that are held out."""

_VERSION = r"(?: v?(?P<version>\d\.\d))?"
_LICENCES = {
    "CC0": r"(?:creative commons |cc ?)(?:0|zero)(?: (?:1\.0|universal|licen[sc]e|public domain dedication))*"
    r"|(?:creativecommons\.org )?publicdomain zero 1\.0(?: deed.*)?",
    "CC BY": rf"(?:(?:creative commons|cc) (?:by|attribution)|attribution){_VERSION}"
    rf"(?: (?:unported|international|generic))?{_VERSION.replace('version', 'late')}(?: licen[sc]e)?"
    r"|creativecommons\.org licenses by (?P<linked>\d\.\d)(?: deed.*)?",
    "Public domain": r"public ?domain(?: mark)?(?: 1\.0)?|pd|(?:creativecommons\.org )?publicdomain mark 1\.0",
    "WTFPL": r"wtfpl(?: v?2(?:\.0)?)?",
    "MIT": r"(?:the )?mit(?: licen[sc]e)?|expat",
    "Apache-2.0": r"apache(?: licen[sc]e)?(?: version)? v?2(?:\.0)?",
    "BSD": r"(?:0|2|3)?(?: ?clause)? ?bsd(?: (?:2|3) clause)?(?: licen[sc]e)?",
    "ISC": r"isc(?: licen[sc]e)?",
    "Unlicense": r"(?:the )?unlicen[sc]e",
}
ALLOWED = tuple(_LICENCES)
"""The licences of recordings that may be used: all that they ask is to name authors and licence."""
_LINKS = {
    "CC0": "https://creativecommons.org/publicdomain/zero/1.0/",
    "CC BY": "https://creativecommons.org/licenses/by/{version}/",
    "WTFPL": "http://www.wtfpl.net/about/",
    "MIT": "https://opensource.org/license/mit",
    "Apache-2.0": "https://www.apache.org/licenses/LICENSE-2.0",
}


@dataclass(frozen=True)
class Recording:
    """A row of the table.

    Args:
        file: The audio file.
        what: Its class, in the words of the table.
        source: The recording that it is a piece of, or its title: where it comes from.
        author: Who made it.
        licence: Its licence, one of :data:`ALLOWED` with a version if one is stated.
        fold: Its fold, or empty.
        kind: ``"one-shot"`` or ``"sustained"``, or empty to decide by its signal.
        held_out: Whether it is held out of training.
        heard: How clearly its family is heard in it, 0 .. 1; None if that was not measured.
    """

    file: Path
    what: str
    source: str
    author: str
    licence: str
    fold: str = ""
    kind: str = ""
    held_out: bool = False
    heard: float | None = None


def licence_name(text: str) -> str | None:
    """The usual name of a licence that is allowed; None for any other.

    Args:
        text: The licence as somebody wrote it: a name, an abbreviation or a link.

    Example:
        >>> licence_name("http://creativecommons.org/licenses/by/3.0/"), licence_name("cc-by-sa 4.0")
        ('CC BY 3.0', None)
    """
    plain = re.sub(r"^https?://(?:www\.)?", "", text.strip().lower())
    plain = re.sub(r"[^a-z0-9.]+", " ", plain).strip()
    for name, pattern in _LICENCES.items():
        if match := re.fullmatch(pattern, plain):
            version = next((value for value in match.groupdict().values() if value), None)
            return name if version is None else f"{name} {version}"
    return None


def row_fault(cells: Mapping[str, Any]) -> str | None:
    """Why a row cannot be used, by its class, author, licence, kind and what is heard; None if it can."""
    shown = {name: str(cells.get(name) or "").strip() for name in ("class", "author", "licence", "kind", "heard")}
    if missing := [name for name in ("class", "author", "licence") if not shown[name]]:
        return f"has no {' and no '.join(missing)}"
    if licence_name(shown["licence"]) is None:
        return f"licence {shown['licence'][:60]!r} is not among those allowed: {', '.join(ALLOWED)}"
    if shown["heard"] and _share(shown["heard"]) is None:
        return f"heard is {shown['heard'][:60]!r}; expected a number from 0 to 1, or nothing"
    if shown["kind"] not in ("", *KINDS):
        return f"kind is {shown['kind'][:60]!r}; expected {' or '.join(KINDS)}, or nothing to decide by the signal"
    return None


def read_table(path: str | Path) -> list[tuple[int, dict[str, Any]]]:
    """Read the rows of a table of recordings, whatever they say.

    Args:
        path: A ``.csv``, ``.tsv`` or ``.jsonl`` file with the columns ``file``, ``class``, ``author`` and ``licence``,
            and optionally ``source``, ``fold``, ``kind`` and ``heard``.

    Returns:
        Line number and cells of each row; ``file`` is a path, from the folder of the table if it was relative.

    Raises:
        DataError: It cannot be read, or lacks a column.
    """
    file = expanded(path)
    rows = read_rows(file, COLUMNS)
    found = {name for _, cells in rows for name in cells}
    if missing := [name for name in ("file", "class", "author", "licence") if name not in found]:
        raise DataError(
            f"{file} lacks the column{'s' * (len(missing) > 1)} {', '.join(missing)}; a table of recordings has "
            "file, class, author, licence, and optionally source, fold, kind, heard"
        )
    for line, cells in rows:
        where = f"{file}, line {line}"
        for name in COLUMNS[1:]:
            cells[name] = text_cell(where, name, cells.get(name))
        if (audio := path_cell(where, file.parent, "file", cells["file"])) is None:
            raise DataError(f"{where}: names no file")
        cells["file"] = audio
    return rows


def read_recordings(path: str | Path, seed: int = 0) -> list[Recording]:
    """Read a table of recordings that may all be used, as ``prismaudio studio recordings`` writes it.

    What is held out is decided by the column ``fold`` where it says something, otherwise by the source: all files of a
    source are trained on, or all are held out. A source that files of several classes name is a collection of
    recordings, and each of its files counts as a source.

    Args:
        path: The table, see :func:`read_table`.
        seed: Seed of the choice of sources that are held out.

    Raises:
        DataError: A row cannot be used, or a file does not exist.
    """
    file = expanded(path)
    rows = read_table(file)
    advice = "build the table with prismaudio studio recordings, which leaves such rows out"
    for line, cells in rows:
        if (fault := row_fault(cells)) is not None:
            raise DataError(f"{file}, line {line}: {fault}; {advice}")
    if missing := [f"{cells['file']} (line {line})" for line, cells in rows if not cells["file"].is_file()]:
        raise DataError(
            f"{file} names files that do not exist: {first_of(missing, 3)}; paths are relative to its folder"
        )
    classes = defaultdict(set)
    for _, cells in rows:
        classes[cells["source"]].add(cells["class"])
    found = []
    for _, cells in rows:
        source, name = cells["source"], cells["file"].name
        is_collection = not source or len(classes[source]) > 1
        unit = f"{source} {cells['class']} {name}" if is_collection else source
        found.append(
            Recording(
                file=cells["file"],
                what=cells["class"],
                source=source or name,
                author=cells["author"],
                licence=licence_name(cells["licence"]) or "",
                fold=cells["fold"],
                kind=cells["kind"],
                held_out=cells["fold"].lower() in HELD_OUT_FOLDS if cells["fold"] else _is_drawn(unit, seed),
                heard=_share(cells["heard"]),
            )
        )
    return found


def _share(text: str) -> float | None:
    """A number from 0 to 1; None for anything else."""
    try:
        number = float(text)
    except ValueError:
        return None
    return number if 0 <= number <= 1 else None


def _is_drawn(unit: str, seed: int) -> bool:
    """Whether a source without a fold is held out."""
    digest = hashlib.sha256(f"{seed} {unit}".encode()).digest()
    return int.from_bytes(digest[:4], "big") < HELD_OUT_SHARE * 2**32


def table_text(rows: Sequence[Mapping[str, Any]]) -> str:
    """The rows of a table as CSV; what was measured of none has no column."""
    text = io.StringIO()
    columns = COLUMNS if any(row.get("heard") for row in rows) else COLUMNS[:-1]
    writer = csv.DictWriter(text, columns, extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def notice(recordings: Iterable[Recording]) -> str:
    """The text that names every author, source and licence, to go with sounds or weights made from recordings.

    Example:
        >>> bark = Recording(Path("a.wav"), "dog", "rose_bark.wav", "nfrae", "CC BY 3.0")
        >>> print(notice([bark]).splitlines()[-1])
          nfrae: rose_bark.wav (dog)
    """
    named: dict[str, dict[tuple[str, str], set[str]]] = defaultdict(lambda: defaultdict(set))
    for recording in recordings:
        named[recording.licence][recording.author, recording.source].add(recording.what)
    lines = [
        "NOTICE",
        "",
        "Made with the recordings below, by their authors. They were cut, mixed to one channel, resampled, faded,",
        "normalised, placed in a scene, or used to fit the weights of a model; no author endorses the result.",
    ]
    for licence in sorted(named):
        lines += ["", f"{licence}{_link(licence)}"]
        of_author: dict[str, list[str]] = defaultdict(list)
        for (author, source), classes in sorted(named[licence].items()):
            of_author[author].append(f"{source} ({', '.join(sorted(classes))})")
        lines += [f"  {author}: {'; '.join(titles)}" for author, titles in of_author.items()]
    return "\n".join(lines) + "\n"


def _link(licence: str) -> str:
    name = next((known for known in _LINKS if licence.startswith(known)), None)
    if name is None:
        return ""
    version = licence.removeprefix(name).strip()
    link = _LINKS[name].format(version=version) if version or "{" not in _LINKS[name] else _LINKS[name][:-10]
    return f", {link}" if version or name != "CC BY" else f" (no version stated), {link}"
