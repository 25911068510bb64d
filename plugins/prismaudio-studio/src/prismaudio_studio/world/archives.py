"""Sounds in the archives of two games, which state who made each: OpenClonk's groups and OpenTTD's sound catalogues."""

from __future__ import annotations

import re
import struct
import zlib
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path, PurePosixPath

from prismaudio.errors import DataError, reason
from prismaudio.paths import AUDIO_SUFFIXES
from prismaudio.untrusted import read_small

MAX_BYTES = 256 << 20
"""Maximum size of an archive, packed and unpacked."""
MAX_SOUND_BYTES = 64 << 20
"""Maximum size of a sound in an archive."""
MAX_ENTRIES, MAX_DEPTH = 4096, 16
"""Maximum number of entries of an archive, and of groups within groups."""
AUTHORS, MAX_AUTHORS_BYTES = "authors.txt", 64 << 10
"""The file of a group that says who made its sounds, and its maximum size."""
SUFFIXES = (".ocg", ".cat")
"""Suffixes of a group and of a catalogue."""

_GROUP_MAGIC, _GZIP_MAGIC = b"\x1e\x8c", b"\x1f\x8b"
_GROUP_ID, _GROUP_KEY = b"RedWolf Design GrpFolder\0", 0xED
_HEADER_BYTES, _COUNT_AT = 204, 36
_ENTRY = "<260s4xII4xI36x"
_ENTRY_BYTES = struct.calcsize(_ENTRY)
_ITEM = re.compile(r"([^\s,()]+)?\s*((?:\((?:[^()]|\([^()]*\))*\)\s*)+|\(.*)?[\s,]*")
_MAKER = r'"[^"]+"|[^".,]+?(?:\s+aka\s+"[^"]+")?(?=\.|,|\s+and\b|\s*$)'
_OFFSET_BITS = 0x7FFFFFFF
_WITH_FOLDER = 3
_NAMED = re.compile(rf'"(?P<file>[^"]*)"(?:\s+by\s+(?P<maker>{_MAKER}))?|\b(?i:by)\s+(?P<other>{_MAKER})')
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
    """Whether a file is an archive that :func:`packed_sounds` reads, by its suffix and its first sound."""
    suffix = file.suffix.lower()
    if suffix not in SUFFIXES or not file.is_file():
        return False
    try:
        with file.open("rb") as opened:
            start = opened.read(4)
            if suffix == ".ocg":
                return start.startswith(_GROUP_MAGIC)
            opened.seek(_catalogue_offset(start))
            title_bytes = opened.read(1)
            return bool(title_bytes) and opened.read(title_bytes[0] + 4).endswith(b"RIFF")
    except OSError:
        return False


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
    files = _files_of(memoryview(data))
    text = bytes(files.get(PurePosixPath(AUTHORS), b""))
    if len(text) > MAX_AUTHORS_BYTES:
        raise DataError(f"its {AUTHORS} has more than {MAX_AUTHORS_BYTES >> 10} KiB")
    paths = sorted(path for path in files if path.suffix.lower() in AUDIO_SUFFIXES)
    folders: dict[str, set[PurePosixPath]] = defaultdict(set)
    for path in paths:
        folders[_class(path.stem)].add(path.parent)
    made = []
    for path, credits_of in _named(paths, _credits(text.decode("utf-8", "replace"))).items():
        what = _class(path.stem)
        if len(folders[what]) > 1:  # Chest/Open and UI/Open
            what = f"{_class(path.parent.name)}_{what}".lstrip("_")
        licences = {credit.licence for credit in credits_of}
        found = credits_of if len(licences) == 1 else []
        source = "; ".join(dict.fromkeys(credit.title for credit in found)) or str(path.with_suffix(""))
        author = ", ".join(dict.fromkeys(credit.author for credit in found))
        made.append(PackedSound(path, bytes(files[path]), what, source, author, licences.pop() if found else ""))
    return made


def _files_of(data: memoryview) -> dict[PurePosixPath, memoryview]:
    """The files of a group and of the groups in it."""
    files: dict[PurePosixPath, memoryview] = {}
    groups = [(PurePosixPath(), data)]
    n_entries = n_bytes = 0
    while groups:
        folder, group = groups.pop()
        entries = _entries(folder, group)
        n_entries += len(entries)
        if n_entries > MAX_ENTRIES or len(folder.parts) >= MAX_DEPTH:
            raise DataError(f"it has more than {MAX_ENTRIES} entries, or {MAX_DEPTH} groups within groups")
        for name, is_group, part in entries:
            path = folder / name
            if is_group:
                groups.append((path.with_suffix(""), part))
                continue
            n_bytes += len(part)
            if path in files or len(part) > MAX_SOUND_BYTES or n_bytes > len(data):
                raise DataError(
                    f"{path} is in it twice, has more than {MAX_SOUND_BYTES >> 20} MiB, or overlaps another"
                )
            files[path] = part
    return files


def _entries(folder: PurePosixPath, group: memoryview) -> list[tuple[str, bool, memoryview]]:
    """Name, kind and content of each entry of a group."""
    header = bytearray(byte ^ _GROUP_KEY for byte in group[:_HEADER_BYTES])
    for at in range(0, len(header) - 2, 3):
        header[at], header[at + 2] = header[at + 2], header[at]
    if len(header) < _HEADER_BYTES or not header.startswith(_GROUP_ID):
        raise DataError(f"the group {folder} has no header")
    count = int.from_bytes(header[_COUNT_AT : _COUNT_AT + 4], "little")
    start = _HEADER_BYTES + count * _ENTRY_BYTES
    if start > len(group):
        raise DataError(f"the group {folder} ends before its {count} entries")
    found = []
    for raw, is_group, size, offset in struct.iter_unpack(_ENTRY, group[_HEADER_BYTES:start]):
        name = raw.split(b"\0")[0].decode("utf-8", "replace")
        if not _PLAIN_NAME.fullmatch(name):
            raise DataError(f"{name[:60]!r} is not a plain file name")
        if start + offset + size > len(group):
            raise DataError(f"{folder / name} lies beyond its end")
        found.append((name, bool(is_group), group[start + offset : start + offset + size]))
    return found


def _credits(text: str) -> list[_Credit]:
    """The items of a list of authors, ``author - item (note), item``, continued on indented lines.

    A sentence ``licensed under the X license`` holds for what follows; an indented ``Folder/Folder:`` does for the
    items below it. What a line of several words that ends in a colon names is made from what follows: it is left out.
    """
    found: list[_Credit] = []
    author = licence = prefix = prose = ""
    for line in text.splitlines():
        if begun := re.match(r"(\S.*?)-\s+(.*)", line):
            author, items, prefix, prose = begun[1].strip(), begun[2], "", ""
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


def _named(paths: list[PurePosixPath], credited: list[_Credit]) -> dict[PurePosixPath, list[_Credit]]:
    """The credits of each sound: those that name it most exactly, by folders; none if they may mean another one."""
    best: dict[PurePosixPath, list[_Credit]] = {}
    places: dict[str, set[PurePosixPath]] = defaultdict(set)
    for path in paths:
        ranks = [(_rank(credit.item, path), credit) for credit in credited]
        top = max((rank for rank, _ in ranks), default=0)
        best[path] = [credit for rank, credit in ranks if rank == top > 0]
        for credit in best[path] if top < _WITH_FOLDER else ():
            places[credit.item].add(path.parent)
    return {path: found if all(len(places[c.item]) < 2 for c in found) else [] for path, found in best.items()}


def _rank(item: str, path: PurePosixPath) -> int:
    """How exactly an item names a sound; 0 if it does not."""
    parents, name, start = _item(item)
    folders, stem = _place(path)
    if not (stem.startswith(start) or (folders and f"{folders[-1]}{stem}".startswith(start))):
        return 0
    if parents and parents[-1] not in folders:
        return 0
    if _names(name, stem):
        return 1 + _WITH_FOLDER * sum(part in folders for part in parents) + ("*" not in name)
    return _WITH_FOLDER if not parents and folders and _names(name, folders[-1] + stem) else 0


@lru_cache(maxsize=8192)
def _item(item: str) -> tuple[list[str], str, str]:
    """Folders and name of an item, and what the name begins with before any number."""
    *parents, name = re.sub(r"\.\w+$", "", item.replace("::", "/")).lower().split("/")
    return parents, name, re.split(r"[\d*]", name, maxsplit=1)[0]


@lru_cache(maxsize=8192)
def _place(path: PurePosixPath) -> tuple[list[str], str]:
    """Folders and name of a sound, in lower case."""
    return [part.lower() for part in path.parts[:-1]], path.stem.lower()


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
def _catalogue_offset(start: bytes) -> int:
    """Where the table of a catalogue ends and its first sound begins."""
    return int.from_bytes(start[:4], "little") & _OFFSET_BITS


def _of_catalogue(data: bytes) -> Iterator[PackedSound]:
    """The sounds of a catalogue: a table of offsets and sizes, then for each a title, a WAV file and its name."""
    first = _catalogue_offset(data)
    count = first // 8
    if not 0 < count <= MAX_ENTRIES or first > len(data):
        raise DataError(f"its table states {count} entries; expected 1 to {MAX_ENTRIES}")
    n_bytes = 0
    seen: Counter[str] = Counter()
    for index, (offset, size) in enumerate(struct.iter_unpack("<II", data[: count * 8])):
        at = offset & _OFFSET_BITS
        begin = at + 1 + data[at] if first <= at < len(data) else len(data)
        if begin + size > len(data) or data[begin : begin + 4] != b"RIFF":
            raise DataError(f"its entry {index} of {count} has no WAV file")
        n_bytes += size
        if size > MAX_SOUND_BYTES or n_bytes > len(data):
            raise DataError(f"its entry {index} has more than {MAX_SOUND_BYTES >> 20} MiB, or overlaps another")
        text = data[at + 1 : begin].split(b"\0")[0].decode("utf-8", "replace")
        title = (re.match(r'"([^"]*)"', text) or re.match(r"([^.]*)", text))[1]  # type: ignore[index]
        what = _class(title) or "untitled"
        stem = what[:60]
        seen[stem] += 1
        path = PurePosixPath(f"{stem}_{seen[stem]}.wav")
        source, author, licence = _credit_of(title, text)
        yield PackedSound(path, data[begin : begin + size], what, source, author, licence)


def _credit_of(title: str, text: str) -> tuple[str, str, str]:
    """Source, author and licence that an entry states.

    Author and licence are empty if it names a file without saying who made it.

    Example:
        >>> _credit_of("Horn", '"Horn". Original "claxon.wav" by "han1". Edited by Bo. License: CC BY 3.0.')
        ('claxon.wav', 'han1, Bo', 'CC BY 3.0')
    """
    credit, _, stated = text.removeprefix(f'"{title}"').partition("License:")
    named = list(_NAMED.finditer(credit))
    files = dict.fromkeys(match["file"] for match in named if match["file"])
    makers = dict.fromkeys((match["maker"] or match["other"] or "").replace('"', "") for match in named)
    if "" in makers:
        return title, "", ""
    licence = re.split(r"\. (?=[A-Z])", stated.strip())[0].rstrip(".")
    return " and ".join(files) or title, ", ".join(makers), licence
