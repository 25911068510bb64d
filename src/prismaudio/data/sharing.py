"""Concurrent writes of several processes into one folder."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from prismaudio.errors import MediaError, reason

NO_HARD_LINKS = (errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK, errno.EINVAL, errno.EXDEV, errno.EACCES)
"""Error codes of file systems without hard links."""
LEFT_OVER_S = 3600.0
"""Age in seconds after which a temporary file is assumed to belong to a killed process."""


def add_file(targets: Iterable[Path], write: Callable[[Path], object]) -> Path:
    """Atomically write a file under the first unused of several names.

    Args:
        targets: Names in one folder, an infinite iterable.
        write: Writes the file, given a temporary name in that folder.

    Returns:
        The path of the file.

    Raises:
        MediaError: The folder cannot be written to, or the disk is full.
    """
    names = iter(targets)
    target = next(names)
    part = target.with_name(f".{target.stem[:80]}-{secrets.token_hex(4)}.part{target.suffix}")
    try:
        try:
            write(part)
            flush(part)
            while not _place(part, target):
                target = next(names)
        finally:
            part.unlink(missing_ok=True)
    except OSError as error:
        raise MediaError(f"cannot write {target}: {reason(error)}; choose another folder with -o") from error
    return target


def _place(part: Path, target: Path) -> bool:
    """Give a finished file its final name unless a file of that name exists; return whether it succeeded."""
    try:
        os.link(part, target)
    except FileExistsError:
        return part.samefile(target)  # on a network file system the link may exist although the reply was lost
    except OSError as error:
        if error.errno not in NO_HARD_LINKS:
            raise
        return _place_claimed(part, target)
    return True


def _place_claimed(part: Path, target: Path) -> bool:
    """Without hard links: only the process that creates a claim file renames; a stale claim only blocks its name."""
    claim = target.with_name(f".{target.name}.claim")
    try:
        claim.open("xb").close()
    except FileExistsError:
        return False
    try:
        if target.exists():
            return False
        part.rename(target)
    finally:
        claim.unlink(missing_ok=True)
    return True


def flush(path: Path) -> None:
    """Wait until a file or a folder is written to disk, if the system supports it."""
    with contextlib.suppress(PermissionError):  # folders, on Windows
        handle = os.open(path, os.O_RDONLY)
        try:
            with contextlib.suppress(OSError):
                os.fsync(handle)
        finally:
            os.close(handle)


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Exclusive lock on a folder, if the system supports it; it is released when a process is killed."""
    handle = None
    with contextlib.suppress(ImportError, OSError):
        import fcntl

        handle = os.open(folder, os.O_RDONLY)
        fcntl.flock(handle, fcntl.LOCK_EX)
    try:
        yield
    finally:
        if handle is not None:
            os.close(handle)


def remove_left_over(paths: Iterable[Path]) -> None:
    """Delete temporary files of processes that were killed."""
    for path in paths:
        with contextlib.suppress(OSError):
            if time.time() - path.stat().st_mtime > LEFT_OVER_S:
                path.unlink()
