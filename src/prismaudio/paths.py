"""Expansion of paths that users write, and the suffixes of media files."""

from __future__ import annotations

from pathlib import Path

from prismaudio.errors import PrismAudioError, truncated

_VIDEO = "3gp avi flv gif m2ts m4v mkv mov mp4 mpeg mpg mts mxf ogv ts vob webm wmv"
_AUDIO = "aac aif aiff au caf flac m4a mka mp3 oga ogg opus wav wma"
VIDEO_SUFFIXES = frozenset(f".{name}" for name in _VIDEO.split())
"""Suffixes of the files in a folder that are treated as videos."""
AUDIO_SUFFIXES = frozenset(f".{name}" for name in _AUDIO.split())
"""Suffixes of the files in a folder that are treated as audio."""


def expanded(path: str | Path) -> Path:
    """Expand ``~`` or ``~user`` in a path.

    Raises:
        PrismAudioError: The user does not exist, or the path contains a NUL character.

    Example:
        >>> expanded("clip.mp4").name
        'clip.mp4'
    """
    if "\0" in str(path):
        raise PrismAudioError(
            f"{truncated(str(path), 100)!r} contains a NUL character, so it cannot be a path; remove it"
        )
    try:
        return Path(path).expanduser()
    except RuntimeError as error:
        user = Path(path).parts[0]
        raise PrismAudioError(f"{path}: {user} has no home folder; write ./{path} for a file of that name") from error
