"""Files that are either written whole or not at all."""

from __future__ import annotations

import os
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from prismaudio.errors import MediaError

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """A temporary path beside ``path`` that takes its place when the block ends, and vanishes when it fails.

    Args:
        path: The file to write. Its folder is created when it is missing.

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
        handle, name = tempfile.mkstemp(
            prefix=f".{target.stem[:80]}-", suffix=f".part{target.suffix}", dir=target.parent
        )
        os.close(handle)
        part = Path(name)
        part.chmod(0o666 & ~_umask())
        yield part
        part.replace(target)
    except OSError as error:
        raise MediaError(f"cannot write {target}: {reason(error)}; choose another folder with -o") from error
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
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(b"0")
    except OSError as error:
        raise MediaError(f"cannot write to {folder}: {reason(error)}; choose another folder with -o") from error


def reason(error: BaseException) -> str:
    """What the operating system says about an error, in a few words.

    Example:
        >>> reason(PermissionError(13, "Permission denied", "/private/x"))
        'permission denied'
    """
    text = getattr(error, "strerror", None) or str(error).splitlines()[0] if str(error) else type(error).__name__
    return text[:1].lower() + text[1:]


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
