"""Atomic file writing, writability checks and file names."""

from __future__ import annotations

import hashlib
import os
import secrets
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from prismaudio.errors import MediaError, reason

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

MAX_NAME_BYTES = 255
"""Maximum length of a file name on common file systems, in bytes of UTF-8."""


@contextmanager
def replacing(path: str | Path, advice: str = "choose another folder with -o") -> Iterator[Path]:
    """Write a file atomically: yields a temporary path that replaces ``path`` on success and is deleted on failure.

    Args:
        path: The file to write. Its folder is created if it is missing.
        advice: Advice in the error message if the file cannot be written.

    Yields:
        A path in the same folder, with the same suffix, to write to.

    Raises:
        MediaError: The folder is not writable or is full.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     with replacing(Path(folder) / "note.txt") as part:
        ...         _ = part.write_text("whole")
        ...     (Path(folder) / "note.txt").read_text()
        'whole'
    """
    target = Path(path)
    part = None
    try:
        if target.is_dir():
            raise MediaError(f"cannot write {target}: it is a folder; give the name of a file")
        target.parent.mkdir(parents=True, exist_ok=True)
        suffix = target.suffix if len(os.fsencode(target.suffix)) <= 16 else ""
        part = target.parent / f"{hidden_prefix(target.stem)}{secrets.token_hex(8)}.part{suffix}"
        part.touch(0o666, exist_ok=False)  # with the umask, which no thread may change to read it
        yield part
        part.replace(target)
    except OSError as error:
        raise MediaError(f"cannot write {target}: {reason(error)}; {advice}") from error
    finally:
        if part is not None:
            part.unlink(missing_ok=True)


def make_writable(folder: Path) -> None:
    """Create a folder and check that it is writable.

    Raises:
        MediaError: It is not writable.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise MediaError(f"cannot write to {folder}: {reason(error)}; choose another folder with -o") from error
    check_writable(folder)


def check_writable(folder: Path) -> None:
    """Check that files can be written to a folder; a missing folder is not created.

    Raises:
        MediaError: It is not writable.
    """
    present = folder.absolute()
    try:
        while not present.exists():
            present = present.parent
        with tempfile.TemporaryFile(dir=present) as file:
            file.write(b"0")
    except OSError as error:
        raise MediaError(f"cannot write to {folder}: {reason(error)}; choose another folder with -o") from error


def short_name(name: str, most_bytes: int) -> str:
    """Shorten a name to at most ``most_bytes``; a longer name is truncated and gets a hash to stay unique.

    Example:
        >>> short_name("dog", 20), short_name("鐘" * 80, 20)
        ('dog', '鐘鐘鐘-...')
    """
    data = os.fsencode(name)
    if len(data) <= most_bytes:
        return name
    digest = hashlib.blake2b(data, digest_size=4).hexdigest()
    end = most_bytes - len(digest) - 1
    while end and data[end] & 0xC0 == 0x80:  # in the middle of a character
        end -= 1
    return f"{os.fsdecode(data[:end])}-{digest}"


def hidden_prefix(stem: str) -> str:
    """Return the name prefix of the temporary files and folders of a file."""
    return f".{short_name(stem, 80)}-"


def file_id(path: str | Path) -> tuple[int, int] | None:
    """Return an identifier that is equal for all names of a file: links, and equivalent spellings."""
    try:
        found = os.stat(path)  # noqa: PTH116 - a Path cannot hold every string
    except (OSError, ValueError):
        return None
    return found.st_dev, found.st_ino


def spare(target: Path, sources: Iterable[str | Path]) -> None:
    """Check that an output file is not one of the input files of the command.

    Raises:
        MediaError: It is an input file.
    """
    written = file_id(target)
    for source in sources:
        if written is not None and written == file_id(source):
            raise MediaError(f"{target} is an input file of this command and is never overwritten; choose another name")


def relative(path: Path, folder: Path) -> str:
    """A path from a folder; the absolute one on another drive. Links are not resolved, except those to the folder."""
    absolute = os.path.abspath(path)  # noqa: PTH100 - links are not resolved
    try:
        return Path(os.path.relpath(absolute, folder.resolve())).as_posix()
    except ValueError:  # another drive
        return absolute


def portable(path: Path, folder: Path) -> str:
    """Return a path relative to a folder, so that file and folder can be moved together.

    If the relative path would contain folders above the user's home folder, and so reveal its name, only the file name
    is returned.

    Example:
        >>> portable(Path("/shots/clips/dog.mp4"), Path("/shots/out"))
        '../clips/dog.mp4'
        >>> portable(Path.home() / "dog.mp4", Path("/shots/out"))
        'dog.mp4'
    """
    file, base = Path(os.path.abspath(path)), Path(os.path.abspath(folder))  # noqa: PTH100 - links are not resolved
    home = Path(os.path.expanduser("~"))  # noqa: PTH111 - a user without a home folder is not an error here
    try:
        shared = Path(os.path.commonpath([file, base]))
    except ValueError:  # another drive
        return file.name
    if shared == Path(shared.anchor) or (shared != home and home.is_relative_to(shared)):
        return file.name
    return os.path.relpath(file, base)
