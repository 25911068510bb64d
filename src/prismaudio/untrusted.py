"""Checks of untrusted files, names and JSON: regular files only, of bounded size, with text in UTF-8."""

from __future__ import annotations

import errno
import json
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from prismaudio.errors import DataError, MediaError

MAX_TABLE_BYTES = 1 << 30
"""Maximum size of a manifest; one with a million clips has a few hundred megabytes."""
MAX_SMALL_BYTES = 16 << 20
"""Maximum size of plans, tables and descriptions of results."""
MAX_TEXT_BYTES = 1 << 20
"""Maximum size of one text: a plan, a line of a manifest, the metadata of a clip in an archive."""
MAX_DEPTH = 64
"""Maximum nesting depth of a JSON value."""


class _NestingError(ValueError):
    """A JSON value is nested too deeply."""


# Files ---------------------------------------------------------------------------------------------------------------
def check_file(path: Path, max_bytes: int | None = None) -> None:
    """Check that a path is a regular file; devices and pipes may be endless.

    Args:
        path: The file.
        max_bytes: Maximum size; None for no limit.

    Raises:
        DataError: The path is not a regular file, or the file is too large.
        OSError: The file does not exist, or access is denied.
    """
    try:
        status = path.stat()
    except ValueError as error:  # a NUL, or a character that is not allowed in file names
        raise DataError(f"{str(path)!r} is not a valid file name: {error}") from error
    if not stat.S_ISREG(status.st_mode):
        raise DataError(f"{path} is not a regular file; expected a file, not a folder, a device or a pipe")
    if max_bytes is not None and status.st_size > max_bytes:
        raise DataError(f"{path} has {status.st_size} bytes; expected at most {max_bytes}")


def read_small(path: str | Path, max_bytes: int = MAX_SMALL_BYTES) -> bytes:
    """Read a regular file of limited size.

    Args:
        path: The file.
        max_bytes: Maximum size.

    Raises:
        OSError: The file cannot be read, is larger, or is a folder, a pipe or a device.
    """
    file = Path(path)
    status = file.stat()
    if not stat.S_ISREG(status.st_mode):
        raise OSError(errno.EINVAL, "it is not a regular file", str(file))
    if status.st_size > max_bytes:
        raise OSError(errno.EFBIG, f"it is larger than {max_bytes >> 20} MiB", str(file))
    with file.open("rb") as opened:
        return opened.read(status.st_size)  # read() allocates the requested size


def check_regular(path: str | Path, expected: str) -> None:
    """Check that a path is not a pipe or a device, which may be endless; a missing file passes.

    Raises:
        MediaError: The path is a pipe or a device.
    """
    try:
        mode = Path(path).stat().st_mode
    except OSError:
        return
    if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
        raise MediaError(f"{path} is a pipe or a device; expected {expected} on a disk")


# JSON ----------------------------------------------------------------------------------------------------------------
def load_json(text: str | bytes) -> Any:
    """Parse a JSON text.

    Raises:
        ValueError: The text is not JSON, or nested too deeply.
    """
    try:
        value = json.loads(text)
        too_deep = _is_deep(value)
    except RecursionError:
        too_deep = True
    if too_deep:
        raise _NestingError(f"nested too deeply; expected at most {MAX_DEPTH} levels")
    return value


def parse_json(text: str | bytes, where: str, max_bytes: int | None = MAX_TEXT_BYTES) -> Any:
    """Parse a JSON text of limited size.

    Args:
        text: The text.
        where: Its origin, for the error.
        max_bytes: Maximum size; None for no limit.

    Raises:
        DataError: The text is not JSON, too long or nested too deeply.

    Example:
        >>> parse_json('{"a": [1]}', "here")
        {'a': [1]}
        >>> parse_json("[" * 100_000, "here")
        Traceback (most recent call last):
        prismaudio.errors.DataError: here: JSON that is nested too deeply; expected at most 64 levels
    """
    if max_bytes is not None and len(text) > max_bytes:
        raise DataError(f"{where}: {len(text)} characters of JSON; expected at most {max_bytes}")
    try:
        return load_json(text)
    except _NestingError as error:
        raise DataError(f"{where}: JSON that is {error}") from None
    except ValueError as error:
        raise DataError(f"{where}: not JSON ({error})") from error


def json_text(value: Any, *, indent: int | None = None) -> bytes:
    r"""Encode a value as a line of JSON in UTF-8; file names that are not UTF-8 are restored when it is parsed.

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
    r"""Whether text can be encoded as UTF-8; a lone surrogate cannot.

    Example:
        >>> is_text("Glocke 🔔"), is_text("\ud83d")
        (True, False)
    """
    return escaped(value) == value


def escaped(text: str) -> str:
    r"""Escape characters that UTF-8 cannot encode, such as bytes of file names, so that JSON restores them.

    Example:
        >>> print(escaped("caf\udce9.wav"))
        caf\udce9.wav
    """
    return text.encode("utf-8", "backslashreplace").decode()


def readable_name(name: str) -> str:
    r"""A file name as text: bytes that are not UTF-8, which are allowed on Linux, are written as ``\xe9``.

    Example:
        >>> readable_name("caf\udce9")
        'caf\\xe9'
    """
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
