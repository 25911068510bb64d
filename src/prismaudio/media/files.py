"""Files that are written whole or not at all, and their names."""

from __future__ import annotations

import hashlib
import os
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from prismaudio.errors import MediaError, reason

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

MAX_NAME_BYTES = 255
"""The longest name that the usual file systems take, in bytes of UTF-8."""


@contextmanager
def replacing(path: str | Path, advice: str = "choose another folder with -o") -> Iterator[Path]:
    """A temporary path beside ``path`` that takes its place when the block ends, and vanishes when it fails.

    Args:
        path: The file to write. Its folder is created when it is missing.
        advice: What to do where it cannot be written.

    Yields:
        A name in the same folder and with the same suffix, to be written in the block.

    Raises:
        MediaError: The folder cannot be written, or is full.

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
        handle, name = tempfile.mkstemp(prefix=hidden_prefix(target.stem), suffix=f".part{suffix}", dir=target.parent)
        os.close(handle)
        part = Path(name)
        part.chmod(0o666 & ~_umask())
        yield part
        part.replace(target)
    except OSError as error:
        raise MediaError(f"cannot write {target}: {reason(error)}; {advice}") from error
    finally:
        if part is not None:
            part.unlink(missing_ok=True)


def make_writable(folder: Path) -> None:
    """Make a folder, and make sure that files can be written to it.

    Raises:
        MediaError: They cannot.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise MediaError(f"cannot write to {folder}: {reason(error)}; choose another folder with -o") from error
    check_writable(folder)


def check_writable(folder: Path) -> None:
    """Make sure that files can be written to a folder, which need not be there yet and is not made.

    Raises:
        MediaError: They cannot.
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
    """A name of at most so many bytes; of a longer one the beginning, and a hash that tells it from others.

    Example:
        >>> short_name("dog", 20), short_name("鐘" * 80, 20)
        ('dog', '鐘鐘鐘-...')
    """
    data = os.fsencode(name)
    if len(data) <= most_bytes:
        return name
    mark = hashlib.blake2b(data, digest_size=4).hexdigest()
    end = most_bytes - len(mark) - 1
    while end and data[end] & 0xC0 == 0x80:  # in the middle of a character
        end -= 1
    return f"{os.fsdecode(data[:end])}-{mark}"


def hidden_prefix(stem: str) -> str:
    """What the names of temporary files and folders of a file begin with."""
    return f".{short_name(stem, 80)}-"


def file_id(path: str | Path) -> tuple[int, int] | None:
    """What two names of one file have in common: links, and letters that the file system does not tell apart."""
    try:
        found = os.stat(path)  # noqa: PTH116 - a Path cannot hold every text that is tried
    except (OSError, ValueError):
        return None
    return found.st_dev, found.st_ino


def spare(target: Path, sources: Iterable[str | Path]) -> None:
    """See that a file to be written is none of the files that the command reads.

    Raises:
        MediaError: It is one of them.
    """
    written = file_id(target)
    for source in sources:
        if written is not None and written == file_id(source):
            raise MediaError(f"{target} is read by this command, and is never written over; choose another name")


def portable(path: Path, folder: Path) -> str:
    """A path as a file in a folder names it: relative to the folder, so that both can be moved together.

    Where that would lead through folders above the user's own, and so tell their name, it is the file's name alone.

    Example:
        >>> portable(Path("/shots/clips/dog.mp4"), Path("/shots/out"))
        '../clips/dog.mp4'
        >>> portable(Path.home() / "dog.mp4", Path("/shots/out"))
        'dog.mp4'
    """
    file, base = Path(os.path.abspath(path)), Path(os.path.abspath(folder))  # noqa: PTH100 - links stay as they are
    home = Path(os.path.expanduser("~"))  # noqa: PTH111 - a user without a home is no error here
    try:
        shared = Path(os.path.commonpath([file, base]))
    except ValueError:  # another drive
        return file.name
    if shared == Path(shared.anchor) or (shared != home and home.is_relative_to(shared)):
        return file.name
    return os.path.relpath(file, base)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
