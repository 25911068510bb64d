"""Paths as users write them."""

from __future__ import annotations

from pathlib import Path

from prismaudio.errors import PrismAudioError, shortened


def expanded(path: str | Path) -> Path:
    """A path whose ``~`` or ``~user`` is a home folder.

    Raises:
        PrismAudioError: There is no such user, or the path has a NUL character.

    Example:
        >>> expanded("clip.mp4").name
        'clip.mp4'
    """
    if "\0" in str(path):
        raise PrismAudioError(f"{shortened(str(path), 100)!r} has a NUL character, so it is the path of no file")
    try:
        return Path(path).expanduser()
    except RuntimeError as error:
        user = Path(path).parts[0]
        raise PrismAudioError(
            f"{path}: there is no home folder of {user}; write ./{path} for a file of that name"
        ) from error
