"""Text, names and JSON from files that others wrote: bounded in size and depth, and refused in one line."""

from __future__ import annotations

import json
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from prismaudio.errors import DataError

MAX_TABLE_BYTES = 1 << 30
"""Largest manifest; one of a million clips has some hundred megabytes."""
MAX_TEXT_BYTES = 1 << 20
"""Largest text of one thing: a plan, a line of a manifest, what an archive says of a clip."""
MAX_DEPTH = 64
"""Deepest nesting of a JSON value."""


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


def parse_json(text: str | bytes, where: str, max_bytes: int | None = MAX_TEXT_BYTES) -> Any:
    """A JSON value.

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
        value = json.loads(text)
        too_deep = _is_deep(value)
    except RecursionError:
        too_deep = True
    except ValueError as error:
        raise DataError(f"{where}: not JSON ({error})") from error
    if too_deep:
        raise DataError(f"{where}: JSON that is nested too deeply; expected {MAX_DEPTH} levels at most")
    return value


def _is_deep(value: Any) -> bool:
    level = [value]
    for _ in range(MAX_DEPTH):
        level = [item for one in level for item in _inside(one)]
        if not level:
            return False
    return True


def _inside(value: Any) -> Iterator[Any]:
    if isinstance(value, dict):
        yield from value.values()
    elif isinstance(value, list):
        yield from value


def is_text(value: str) -> bool:
    r"""Whether text can be stored as UTF-8, which half of a surrogate pair cannot.

    Example:
        >>> is_text("Glocke 🔔"), is_text("\ud83d")
        (True, False)
    """
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def readable_name(name: str) -> str:
    r"""A file's name as text: bytes that are not UTF-8, which names on Linux may have, are written ``\xe9``.

    Example:
        >>> readable_name("caf\udce9")
        'caf\\xe9'
    """
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
