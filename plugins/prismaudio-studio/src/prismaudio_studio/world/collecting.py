"""Build a table of recordings from tables, folders of class folders, Debian packages, and archives of sounds."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from prismaudio.data.manifest import SUFFIXES
from prismaudio.errors import DataError, MediaError, first_of
from prismaudio.media.files import relative, replacing
from prismaudio.paths import AUDIO_SUFFIXES, expanded
from prismaudio.untrusted import MAX_TABLE_BYTES, read_small
from prismaudio_footage.families import families
from prismaudio_studio.families import voices
from prismaudio_studio.world.archives import SUFFIXES as ARCHIVES
from prismaudio_studio.world.archives import is_archive, packed_sounds
from prismaudio_studio.world.excerpts import MonoSound, kind_of, read_sound
from prismaudio_studio.world.recordings import licence_name, read_table, row_fault

if TYPE_CHECKING:
    from prismaudio_footage.listening import Listener

DOCS, LISTS = Path("/usr/share/doc"), Path("/var/lib/dpkg/info")
EXPECTED = (
    "expected a table (.csv, .tsv, .jsonl), a folder with one, a folder with a subfolder of audio files for each "
    "class, an installed or unpacked Debian package, or an archive of sounds (.ocg, .cat)"
)


@dataclass
class Collected:
    """Rows of a table of recordings, and what was said about others.

    Args:
        rows: The cells of each row; ``file`` is an absolute path.
        refused: The file and the reason of each recording that is left out.
        treated: The file and the treatment of each recording that is used in part.
    """

    rows: list[dict[str, Any]] = field(default_factory=list)
    refused: list[tuple[Path, str]] = field(default_factory=list)
    treated: list[tuple[Path, str]] = field(default_factory=list)

    def add(self, cells: dict[str, Any]) -> MonoSound | None:
        """Measure a recording and add it; what the cells say about its audio is replaced.

        Returns:
            Its audio; None if it cannot be used, and is not added.
        """
        file = cells["file"]
        try:
            if (fault := row_fault(cells)) is not None:
                raise DataError(fault)
            if not file.is_file():
                raise DataError("does not exist")
            if any(file == row["file"] for row in self.rows):
                raise DataError("is in the table already")
            sound = read_sound(file)
        except DataError as error:
            self.refused.append((file, str(error)))
            return None
        if sound.treatment:
            self.treated.append((file, sound.treatment))
        measured = {
            "kind": cells.get("kind") or kind_of(sound),
            "seconds": f"{sound.seconds:.2f}",
            "rate_hz": sound.file_rate_hz,
            "channels": sound.channels,
            "licence": licence_name(cells["licence"]),
        }
        self.rows.append({**cells, **measured})
        return sound

    def relative_to(self, folder: Path) -> list[dict[str, Any]]:
        """The rows with files relative to a folder, that of the table."""
        return [{**row, "file": relative(row["file"], folder)} for row in self.rows]


def clarity(listener: Listener, sound: MonoSound, what: str) -> str:
    """How clearly its family is heard in a recording, as the cell of a table; empty if it is of no family.

    Args:
        listener: Who listens.
        sound: The audio of the recording.
        what: Its class.
    """
    names = [name for voice in voices().values() if voice.is_of(what) for name in families()[voice.name].heard_as]
    if not names:
        return ""
    stereo = torch.as_tensor(sound.audio).float().expand(2, -1) / 2
    return f"{listener.probability(stereo, sound.rate_hz, names):.3f}"


def candidates(
    source: str, author: str | None = None, licence: str | None = None, unpack: Path | None = None
) -> list[dict[str, Any]]:
    """The cells of each recording of a source, not checked yet.

    Args:
        source: A table, a folder, a package or an archive of sounds.
        author: Author of the recordings of a folder of class folders.
        licence: Their licence.
        unpack: Folder to which sounds that lie in archives are written.

    Raises:
        DataError: There is no such source, it says nothing about authors and licences, or an archive is damaged.
        MediaError: A sound cannot be written.
    """
    path = expanded(source)
    if path.suffix.lower() in SUFFIXES:
        return [cells for _, cells in read_table(path)]
    if path.suffix.lower() in ARCHIVES and path.is_file():
        if found := list(_of_archive(path, path.name, None if unpack is None else unpack / path.stem)):
            return found
        raise DataError(f"the archive {path} has no sounds; name another one, or a package")
    if path.is_dir():
        if root := sorted(path.glob("usr/share/doc/*/copyright")):
            files = [file for file in sorted(path.rglob("*")) if file.is_file()]
            return [cells for copyright_file in root for cells in _of_package(copyright_file, files, unpack)]
        tables = [file for file in sorted(path.iterdir()) if file.suffix.lower() in SUFFIXES]
        if len(tables) > 1:
            raise DataError(f"{path} has several tables, {first_of([t.name for t in tables], 3)}; name the one to use")
        if tables:
            return [cells for _, cells in read_table(tables[0])]
        return _of_folders(path, author, licence)
    if re.fullmatch(r"[a-z0-9][a-z0-9.+-]+", source) and (DOCS / source / "copyright").is_file():
        lists = [LISTS / f"{source}.list", *sorted(LISTS.glob(f"{source}:*.list"))]
        names = next((file.read_text(encoding="utf-8") for file in lists if file.is_file()), "")
        return list(_of_package(DOCS / source / "copyright", [Path(line) for line in names.splitlines()], unpack))
    raise DataError(f"there is no table, folder or installed package {source}; {EXPECTED}")


def _of_folders(folder: Path, author: str | None, licence: str | None) -> list[dict[str, Any]]:
    """The recordings of a folder of class folders; each file is a source."""
    found = [
        {"file": file, "class": part.name, "source": file.name, "fold": ""}
        for part in sorted(folder.iterdir())
        if part.is_dir()
        for file in sorted(part.rglob("*"))
        if file.suffix.lower() in AUDIO_SUFFIXES
    ]
    if not found:
        raise DataError(f"{folder} has no table and no audio in subfolders; {EXPECTED}")
    if author is None or licence is None:
        raise DataError(f"{folder} has no table that says who made its recordings; give --author and --licence")
    return [{**cells, "author": author, "licence": licence} for cells in found]


def _of_package(copyright_file: Path, files: list[Path], unpack: Path | None) -> Iterator[dict[str, Any]]:
    """The recordings of a Debian package whose machine-readable copyright file, or archive, has an entry for each.

    An entry for everything, such as ``Files: *``, does not count: it says what holds for programs, too.
    """
    package = copyright_file.parent.name
    stanzas = _stanzas(copyright_file)
    audio = [file for file in files if file.suffix.lower() in AUDIO_SUFFIXES]
    named = [(file, _stanza_of(file, stanzas)) for file in audio]
    packed = [
        cells
        for file in files
        if is_archive(file)
        for cells in _of_archive(file, package, None if unpack is None else unpack / package / file.stem)
    ]
    if not packed and not any(stanza for _, stanza in named):
        raise DataError(f"the copyright file of {package} names none of its {len(audio)} audio files; {EXPECTED}")
    for file, found in named:
        stanza = found or {}
        copyright_text = " ".join(stanza.get("copyright", "").split())
        yield {
            "file": file.absolute(),
            "class": re.sub(r"[\W_]*\d+$", "", file.stem) or file.stem,
            "source": stanza.get("source") or f"{package} {file.name}",
            "fold": "",
            "author": re.sub(r"^(?:©|\(c\))?\s*[\d,\s-]*", "", copyright_text, flags=re.IGNORECASE),
            "licence": stanza.get("license", "").split("\n")[0].strip(),
        }
    yield from packed


def _of_archive(archive: Path, name: str, folder: Path | None) -> Iterator[dict[str, Any]]:
    """The recordings of an archive; those with author and a licence that is allowed are written as files."""
    for sound in packed_sounds(archive):
        if folder is None:
            raise DataError(f"the sounds of {archive} lie in an archive; add --unpack DIR to write them as files")
        file = (expanded(folder) / sound.path).absolute()
        source = f"{name} {sound.source}"
        cells = {"file": file, "class": sound.what, "source": source, "fold": ""}
        cells |= {"author": sound.author, "licence": sound.licence}
        if row_fault(cells) is None:
            _write(file, sound.audio)
        yield cells


def _write(file: Path, audio: bytes) -> None:
    """Write a sound; the same file that is there already is kept."""
    if file.exists():
        if file.is_file() and file.stat().st_size == len(audio) and file.read_bytes() == audio:
            return
        raise MediaError(f"{file} exists and is another file; choose another folder with --unpack")
    with replacing(file, "choose another folder with --unpack") as part:
        part.write_bytes(audio)


def _stanzas(copyright_file: Path) -> list[dict[str, str]]:
    """The paragraphs about files of a machine-readable copyright file (DEP-5), with lower-case names of fields."""
    text = read_small(copyright_file, MAX_TABLE_BYTES).decode("utf-8", "replace")
    found = []
    for paragraph in re.split(r"\n\s*\n", text):
        fields = re.findall(r"^([A-Za-z-]+):[ \t]*(.*(?:\n[ \t]+.*)*)", paragraph, re.MULTILINE)
        stanza = {name.lower(): value.strip() for name, value in fields}
        if "files" in stanza and "license" in stanza:
            found.append(stanza)
    return found


def _stanza_of(file: Path, stanzas: list[dict[str, str]]) -> dict[str, str] | None:
    """The last paragraph that names a file, by its name and folder: paths of sources and of installed files differ."""
    found = None
    for stanza in stanzas:
        for pattern in stanza["files"].split():
            folder, _, name = pattern.rpartition("/")
            same_folder = not folder or fnmatchcase(file.parent.name, folder.rpartition("/")[2])
            if re.search(r"\w", Path(name).stem) and same_folder and fnmatchcase(file.name, name):
                found = stanza
    return found
