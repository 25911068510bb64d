"""Sounds in the archives of two games, which state who made each: OpenClonk's groups and OpenTTD's sound catalogues."""

from __future__ import annotations

import re
import struct
import zlib
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from prismaudio.errors import DataError, reason
from prismaudio.paths import AUDIO_SUFFIXES
from prismaudio.untrusted import read_small

MAX_BYTES = 256 << 20
"""Maximum size of an archive, packed and unpacked."""
MAX_SOUND_BYTES = 64 << 20
"""Maximum size of a sound in an archive."""
MAX_ENTRIES, MAX_DEPTH = 10_000, 16
"""Maximum number of entries of an archive, and of groups within groups."""
AUTHORS, MAX_AUTHORS_BYTES = "authors.txt", 64 << 10
"""The file of a group that says who made its sounds, and its maximum size."""

_GROUP_MAGIC, _GZIP_MAGIC = b"\x1e\x8c", b"\x1f\x8b"
_GROUP_ID, _GROUP_KEY = b"RedWolf Design GrpFolder\0", 0xED
_HEADER_BYTES, _ENTRY_BYTES, _NAME_BYTES = 204, 316, 260
_ITEM = re.compile(r"([^\s,()]+)?\s*((?:\((?:[^()]|\([^()]*\))*\)\s*)+|\(.*)?[\s,]*")
_MAKER = r'"[^"]+"|[^".,]+?(?:\s+aka\s+"[^"]+")?(?=\.|,|\s+and\b|\s*$)'
_WITH_FOLDER = 3
_PLAIN_NAME = re.compile(r"\w[\w @()'+,&!.-]*")


@dataclass(frozen=True)
class PackedSound:
    """A sound of an archive.

    Args:
        path: Where it is written, from the folder of the archive.
        audio: The audio file.
        what: Its class: its title in lower case, without a number at the end.
        source: The title of the recording that it is made from.
        author: Who made it; empty if the archive does not say so clearly.
        licence: Its licence as the archive states it; empty as for ``author``.
    """

    path: PurePosixPath
    audio: bytes
    what: str
    source: str
    author: str
    licence: str


@dataclass(frozen=True)
class _Credit:
    """An item of a list of authors: names of sounds, as ``Fire/Spark1&2`` or ``Hits/RockHit1-3``."""

    author: str
    licence: str
    item: str
    note: str

    @property
    def title(self) -> str:
        return f"{self.item} ({self.note})" if self.note else self.item


def is_archive(file: Path) -> bool:
    """Whether a file is an archive that :func:`packed_sounds` reads, by its suffix and its first bytes."""
    try:
        with file.open("rb") as opened:
            start, size = opened.read(8), file.stat().st_size
    except OSError:
        return False
    if file.suffix.lower() == ".ocg":
        return start[:2] == _GROUP_MAGIC
    if file.suffix.lower() != ".cat" or len(start) < 8:
        return False
    first = int.from_bytes(start[:4], "little") & 0x7FFFFFFF
    return 8 <= first < size and first % 8 == 0


def packed_sounds(file: Path) -> list[PackedSound]:
    """The sounds of an archive, with what it says about their authors.

    Args:
        file: A group (``.ocg``) or a sound catalogue (``.cat``).

    Raises:
        DataError: It cannot be read, is damaged, or exceeds a limit.
    """
    try:
        data = read_small(file, MAX_BYTES)
    except OSError as error:
        raise DataError(f"cannot read the archive {file}: {reason(error)}") from error
    try:
        return _of_group(data) if file.suffix.lower() == ".ocg" else list(_of_catalogue(data))
    except DataError as error:
        raise DataError(f"the archive {file} is damaged or of another kind: {error}; get it again") from error


def _class(title: str) -> str:
    name = re.sub(r"\W+", "_", title.lower()).strip("_")
    return re.sub(r"[\d_]+$", "", name) or name


# OpenClonk -----------------------------------------------------------------------------------------------------------
def _of_group(packed: bytes) -> list[PackedSound]:
    """The sounds of a group: gzip with another magic, then a header, a table and the files, groups among them."""
    unpacker = zlib.decompressobj(31)
    try:
        data = unpacker.decompress(_GZIP_MAGIC + packed[2:], MAX_BYTES + 1)
    except zlib.error as error:
        raise DataError(str(error)) from error
    if len(data) > MAX_BYTES:
        raise DataError(f"it has more than {MAX_BYTES >> 20} MiB")
    if not unpacker.eof:
        raise DataError("it ends too early")
    files: dict[PurePosixPath, memoryview] = {}
    _read_group(memoryview(data), PurePosixPath(), files)
    authors = files.get(PurePosixPath(AUTHORS), memoryview(b""))
    if len(authors) > MAX_AUTHORS_BYTES:
        raise DataError(f"its {AUTHORS} has more than {MAX_AUTHORS_BYTES >> 10} KiB")
    credits = _credits(bytes(authors).decode("utf-8", "replace"))
    sounds = {path: part for path, part in files.items() if path.suffix.lower() in AUDIO_SUFFIXES}
    named = _named(list(sounds), credits)
    folders = defaultdict(set)
    for path in sounds:
        folders[_class(path.stem)].add(path.parent)
    made = []
    for path, part in sounds.items():
        found = named[path]
        what = _class(path.stem)
        if len(folders[what]) > 1:
            what = f"{_class(path.parent.name)}_{what}"
        licences = {credit.licence for credit in found}
        clear = bool(found) and len(licences) == 1
        authors = ", ".join(dict.fromkeys(credit.author for credit in found)) if clear else ""
        title = "; ".join(dict.fromkeys(credit.title for credit in found)) if clear else str(path.with_suffix(""))
        made.append(PackedSound(path, bytes(part), what, title, authors, licences.pop() if clear else ""))
    return made


def _read_group(data: memoryview, folder: PurePosixPath, files: dict[PurePosixPath, memoryview]) -> None:
    if len(folder.parts) > MAX_DEPTH:
        raise DataError(f"it has more than {MAX_DEPTH} groups within groups")
    header = bytearray(byte ^ _GROUP_KEY for byte in data[:_HEADER_BYTES])
    for at in range(0, len(header) - 2, 3):
        header[at], header[at + 2] = header[at + 2], header[at]
    if len(header) < _HEADER_BYTES or not header.startswith(_GROUP_ID):
        raise DataError(f"{folder if folder.parts else 'it'} has no header of a group")
    (count,) = struct.unpack_from("<I", header, 36)
    start = _HEADER_BYTES + count * _ENTRY_BYTES
    if count + len(files) > MAX_ENTRIES or start > len(data):
        raise DataError(f"the table of {folder if folder.parts else 'it'} states {count} entries")
    for index in range(count):
        entry = bytes(data[_HEADER_BYTES + index * _ENTRY_BYTES :][:_ENTRY_BYTES])
        name = entry[:_NAME_BYTES].split(b"\0")[0].decode("utf-8", "replace")
        _, is_group, size, _, offset = struct.unpack_from("<IIIII", entry, _NAME_BYTES)
        if not _PLAIN_NAME.fullmatch(name):
            raise DataError(f"{name[:60]!r} is not a plain file name")
        if start + offset + size > len(data):
            raise DataError(f"{folder / name} lies beyond its end")
        part = data[start + offset : start + offset + size]
        if is_group:
            _read_group(part, folder / PurePosixPath(name).stem, files)
        elif size > MAX_SOUND_BYTES:
            raise DataError(f"{folder / name} has more than {MAX_SOUND_BYTES >> 20} MiB")
        elif folder / name in files:
            raise DataError(f"{folder / name} is in it twice")
        else:
            files[folder / name] = part


def _credits(text: str) -> list[_Credit]:
    """The items of a list of authors, ``author - item (note), item``, continued on indented lines.

    A sentence ``licensed under the X license`` holds for what follows; an indented ``Folder/Folder:`` does for the
    items below it. What a line of several words that ends in a colon names is made from what follows: it is left out.
    """
    found: list[_Credit] = []
    author = licence = prefix = prose = ""
    for line in text.splitlines():
        if begun := re.match(r"(\S.*?)\s*-\s+(.*)", line):
            author, items, prefix, prose = begun[1], begun[2], "", ""
        elif line[:1].isspace() and author.endswith(","):
            joined = f"{author} {line.strip()}"
            found = [replace(credit, author=joined) if credit.author == author else credit for credit in found]
            author = joined
            continue
        elif line[:1].isspace():
            items = re.sub(r"^\s+(?:-\s+)?", "", line)
        else:
            prose = f"{prose} {line}"
            if stated := re.search(r"licen[sc]ed under the (.+?) licen[sc]e", prose):
                licence, prose = stated[1], ""
            continue
        if items.rstrip().endswith(":"):
            prefix = "" if len(items.split()) > 1 else items.strip()[:-1] + "/"
            continue
        note = ""
        for item, own in reversed(_ITEM.findall(items)):  # a note holds for the items before it in its line, too
            note = re.sub(r"\)\s*\(", ", ", " ".join(own.split()))[1:].removesuffix(")") or note
            if item:
                found.append(_Credit(author, licence, prefix + item, note))
    return found


def _named(paths: list[PurePosixPath], credits: list[_Credit]) -> dict[PurePosixPath, list[_Credit]]:
    """The credits of each sound: those that name it most exactly, by folders; none if they may mean another one."""
    best: dict[PurePosixPath, list[_Credit]] = {}
    places: dict[str, set[PurePosixPath]] = defaultdict(set)
    for path in paths:
        ranks = [(_rank(credit.item, path), credit) for credit in credits]
        top = max((rank for rank, _ in ranks), default=0)
        best[path] = [credit for rank, credit in ranks if rank == top > 0]
        for credit in best[path] if top < _WITH_FOLDER else ():
            places[credit.item].add(path.parent)
    return {path: found if all(len(places[c.item]) < 2 for c in found) else [] for path, found in best.items()}


def _rank(item: str, path: PurePosixPath) -> int:
    """How exactly an item names a sound; 0 if it does not."""
    *parents, name = re.sub(r"\.\w+$", "", item.replace("::", "/")).lower().split("/")
    folders, stem = [part.lower() for part in path.parts[:-1]], path.stem.lower()
    if parents and parents[-1] not in folders:
        return 0
    if _names(name, stem):
        return 1 + _WITH_FOLDER * sum(part in folders for part in parents) + ("*" not in name)
    return _WITH_FOLDER if not parents and folders and _names(name, folders[-1] + stem) else 0


def _names(name: str, stem: str) -> bool:
    """Whether a name means a sound: ``Hurt1&2``, ``Die1-5``, or ``Blast*`` with any number."""
    if many := re.fullmatch(r"(.*?)(\d+(?:&\d+)+)", name):
        return stem in {many[1] + number for number in many[2].split("&")}
    if span := re.fullmatch(r"(.*?)(\d{1,3})-(\d{1,3})", name):
        number = stem.removeprefix(span[1])
        return stem.startswith(span[1]) and number.isdecimal() and int(span[2]) <= int(number) <= int(span[3])
    if name.endswith("*"):
        return re.fullmatch(re.escape(name[:-1]) + r"\d*", stem) is not None
    return name == stem


# OpenTTD -------------------------------------------------------------------------------------------------------------
def _of_catalogue(data: bytes) -> Iterator[PackedSound]:
    """The sounds of a catalogue: a table of offsets and sizes, then for each a title, a WAV file and its name."""
    first = int.from_bytes(data[:4], "little") & 0x7FFFFFFF
    count = first // 8
    if not 0 < count <= MAX_ENTRIES or first > len(data):
        raise DataError(f"its table states {count} entries")
    seen: Counter[str] = Counter()
    for index, (offset, size) in enumerate(struct.iter_unpack("<II", data[: count * 8])):
        at = offset & 0x7FFFFFFF
        begin = at + 1 + data[at] if first <= at < len(data) else len(data)
        if begin + size > len(data) or data[begin : begin + 4] != b"RIFF":
            raise DataError(f"its entry {index} of {count} has no WAV file")
        if size > MAX_SOUND_BYTES:
            raise DataError(f"its entry {index} has more than {MAX_SOUND_BYTES >> 20} MiB")
        text = data[at + 1 : begin].split(b"\0")[0].decode("utf-8", "replace")
        title = (re.match(r'"([^"]*)"', text) or re.match(r"([^.]*)", text))[1]  # type: ignore[index]
        what = _class(title) or "untitled"
        seen[what] += 1
        path = PurePosixPath(f"{what[:80]}{seen[what]}.wav")
        source, author, licence = _credit_of(title, text)
        yield PackedSound(path, data[begin : begin + size], what, source, author, licence)


def _credit_of(title: str, text: str) -> tuple[str, str, str]:
    """Source, author and licence that an entry states: ``"Title". Original "file" by "A". Edited by B. License: C.``

    Author and licence are empty if it names a file without saying who made it.
    """
    credit, _, stated = text.removeprefix(f'"{title}"').partition("License:")
    named = list(re.finditer(rf'"(?P<file>[^"]*)"(?:\s+by\s+(?P<maker>{_MAKER}))?|\b(?i:by)\s+(?P<other>{_MAKER})', credit))
    files = dict.fromkeys(match["file"] for match in named if match["file"])
    makers = dict.fromkeys((match["maker"] or match["other"] or "").replace('"', "") for match in named)
    if "" in makers:
        return title, "", ""
    licence = re.split(r"\. (?=[A-Z])", stated.strip())[0].rstrip(".")
    return " and ".join(files) or title, ", ".join(makers), licence
