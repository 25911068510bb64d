"""Files, names and JSON that somebody else may have made: regular files only, of bounded size, and text in UTF-8."""

from __future__ import annotations

import errno
import json
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from prismaudio.errors import DataError, MediaError

MAX_TABLE_BYTES = 1 << 30
"""Largest manifest; one of a million clips has some hundred megabytes."""
MAX_SMALL_BYTES = 16 << 20
"""Plans, tables and descriptions of results are smaller than this; a file that is larger is something else."""
MAX_TEXT_BYTES = 1 << 20
"""Largest text of one thing: a plan, a line of a manifest, what an archive says of a clip."""
MAX_DEPTH = 64
"""Deepest nesting of a JSON value."""


class _NestingError(ValueError):
    """A JSON value is nested too deeply."""


# Files ---------------------------------------------------------------------------------------------------------------
def check_file(path: Path, max_bytes: int | None = None) -> None:
    """Make sure that a path is that of a regular file, for devices and pipes may never end.

    Args:
        path: The file.
        max_bytes: Its largest size; None for any.

    Raises:
        DataError: It is none, or too large.
        OSError: It is not there, or must not be looked at.
    """
    try:
        status = path.stat()
    except ValueError as error:  # a NUL, or a character that no file name has
        raise DataError(f"{str(path)!r} cannot be the name of a file: {error}") from error
    if not stat.S_ISREG(status.st_mode):
        raise DataError(f"{path} is no regular file; expected a file, not a folder, a device or a pipe")
    if max_bytes is not None and status.st_size > max_bytes:
        raise DataError(f"{path} has {status.st_size} bytes; expected {max_bytes} at most")


def read_small(path: str | Path, max_bytes: int = MAX_SMALL_BYTES) -> bytes:
    """The content of a regular file that is expected to be small.

    Args:
        path: The file.
        max_bytes: No more than this is read.

    Raises:
        OSError: It cannot be read, is larger, or is a folder, a pipe or a device, which may have no end.
    """
    file = Path(path)
    status = file.stat()
    if not stat.S_ISREG(status.st_mode):
        raise OSError(errno.EINVAL, "it is not a regular file", str(file))
    if status.st_size > max_bytes:
        raise OSError(errno.EFBIG, f"it is larger than {max_bytes >> 20} MiB", str(file))
    with file.open("rb") as opened:
        return opened.read(status.st_size)  # reading takes memory for what it is asked for


def check_regular(path: str | Path, expected: str) -> None:
    """See that a name is not that of a pipe or a device, which may have no end; whether it is there at all is open.

    Raises:
        MediaError: It is one.
    """
    try:
        mode = Path(path).stat().st_mode
    except OSError:
        return
    if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
        raise MediaError(f"{path} is a pipe or a device; expected {expected} on a disk")


# JSON ----------------------------------------------------------------------------------------------------------------
def load_json(text: str | bytes) -> Any:
    """The value of a JSON text.

    Raises:
        ValueError: It is no JSON, or too deep.
    """
    try:
        value = json.loads(text)
        too_deep = _is_deep(value)
    except RecursionError:
        too_deep = True
    if too_deep:
        raise _NestingError(f"nested too deeply; expected {MAX_DEPTH} levels at most")
    return value


def parse_json(text: str | bytes, where: str, max_bytes: int | None = MAX_TEXT_BYTES) -> Any:
    """The value of a JSON text of bounded size.

    Args:
        text: The text.
        where: Where it comes from, for the error.
        max_bytes: Its largest size; None for any.

    Raises:
        DataError: It is no JSON, too long or too deep.

    Example:
        >>> parse_json('{"a": [1]}', "here")
        {'a': [1]}
        >>> parse_json("[" * 100_000, "here")
        Traceback (most recent call last):
        prismaudio.errors.DataError: here: JSON that is nested too deeply; expected 64 levels at most
    """
    if max_bytes is not None and len(text) > max_bytes:
        raise DataError(f"{where}: {len(text)} characters of JSON; expected {max_bytes} at most")
    try:
        return load_json(text)
    except _NestingError as error:
        raise DataError(f"{where}: JSON that is {error}") from None
    except ValueError as error:
        raise DataError(f"{where}: not JSON ({error})") from error


def json_text(value: Any, *, indent: int | None = None) -> bytes:
    r"""JSON as UTF-8, with a line's end; names of files that are not UTF-8 are read back as they are.

    Raises:
        ValueError: A number is not finite.

    Example:
        >>> json_text("caf\udce9"), load_json(json_text("caf\udce9")) == "caf\udce9"
        (b'"caf\\udce9"\n', True)
    """
    return f"{escaped(json.dumps(value, indent=indent, ensure_ascii=False, allow_nan=False))}\n".encode()


def _is_deep(value: Any) -> bool:
    level = [value]
    for _ in range(MAX_DEPTH):
        level = [item for one in level for item in _items(one)]
        if not level:
            return False
    return True


def _items(value: Any) -> Iterator[Any]:
    if isinstance(value, dict):
        yield from value.values()
    elif isinstance(value, list):
        yield from value


# Text ----------------------------------------------------------------------------------------------------------------
def is_text(value: str) -> bool:
    r"""Whether text can be stored as UTF-8, which half of a surrogate pair cannot.

    Example:
        >>> is_text("Glocke 🔔"), is_text("\ud83d")
        (True, False)
    """
    return escaped(value) == value


def escaped(text: str) -> str:
    r"""A text that UTF-8 can hold: of names of files that are not UTF-8, the bytes as escapes, which JSON reads back.

    Example:
        >>> print(escaped("caf\udce9.wav"))
        caf\udce9.wav
    """
    return text.encode("utf-8", "backslashreplace").decode()


def readable_name(name: str) -> str:
    r"""A file's name as text: bytes that are not UTF-8, which names on Linux may have, are written ``\xe9``.

    Example:
        >>> readable_name("caf\udce9")
        'caf\\xe9'
    """
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
