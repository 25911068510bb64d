"""Paths as users write them."""

from __future__ import annotations

from pathlib import Path

from prismaudio.errors import PrismAudioError, truncated

_VIDEO = "3gp avi flv gif m2ts m4v mkv mov mp4 mpeg mpg mts mxf ogv ts vob webm wmv"
_AUDIO = "aac aif aiff au caf flac m4a mka mp3 oga ogg opus wav wma"
VIDEO_SUFFIXES = frozenset(f".{name}" for name in _VIDEO.split())
"""Files of a folder that are taken for videos."""
AUDIO_SUFFIXES = frozenset(f".{name}" for name in _AUDIO.split())
"""Files of a folder that are taken for audio."""


def expanded(path: str | Path) -> Path:
    """A path whose ``~`` or ``~user`` is a home folder.

    Raises:
        PrismAudioError: There is no such user, or the path has a NUL character.

    Example:
        >>> expanded("clip.mp4").name
        'clip.mp4'
    """
    if "\0" in str(path):
        raise PrismAudioError(f"{truncated(str(path), 100)!r} has a NUL character, so it is the path of no file")
    try:
        return Path(path).expanduser()
    except RuntimeError as error:
        user = Path(path).parts[0]
        raise PrismAudioError(
            f"{path}: there is no home folder of {user}; write ./{path} for a file of that name"
        ) from error
