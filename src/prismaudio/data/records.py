"""Locations of the latents and features of clips, in files of any supported format."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from prismaudio.types import LATENTS

UNDESCRIBED = ("video", "sync", "text", "plan")
"""Streams recognized in files without a description."""
UNTIMED = "text"
"""The stream without a time axis, unless a description states otherwise."""


@dataclass(frozen=True)
class StoredTensor:
    """Location of one tensor of a clip on disk.

    Args:
        path: The file.
        key: The key of the tensor in the file.
        shape: ``(channels, frames)`` of latents, ``(time, dim)`` of features.
        begin: Offset in bytes of its member in an archive.
        size: Size in bytes of that member.
        dtype: Data type in the file, such as ``float16``.
    """

    path: Path
    key: str
    shape: tuple[int, ...]
    begin: int = 0
    size: int = 0
    dtype: str = ""


@dataclass(frozen=True)
class Record:
    """The stored latents and features of one clip.

    Args:
        id: Name of the clip.
        parts: Its tensors: ``latents``, streams such as ``video``, and alternatives of a stream such as ``text.1``.
        info: Metadata such as ``duration_s`` and ``split``.
    """

    id: str
    parts: Mapping[str, StoredTensor]
    info: Mapping[str, Any] = field(default_factory=dict)

    @property
    def n_frames(self) -> int:
        """Number of latent frames."""
        return self.parts[LATENTS].shape[1]

    @property
    def n_texts(self) -> int:
        """Number of alternative texts.

        Example:
            >>> parts = {name: StoredTensor(Path("a"), name, (4, 2)) for name in ("latents", "text", "text.1", "plan")}
            >>> Record("a", parts).n_texts
            2
        """
        numbers = [int(name.partition(".")[2] or 0) for name in self.parts]
        return 1 + max(numbers, default=0)

    def stream(self, name: str, text: int = 0) -> StoredTensor | None:
        """The tensor of a stream, for one of the alternative texts; None if the clip does not have the stream."""
        return self.parts.get(f"{name}.{text}" if text else name, self.parts.get(name))


@dataclass(frozen=True)
class Contents:
    """The contents of one file.

    Args:
        path: The file.
        records: Its clips, by id.
        description: Description of the models, see :mod:`prismaudio.data.description`; None if there is none.
    """

    path: Path
    records: Mapping[str, Record]
    description: Mapping[str, Any] | None = None


def member_name(clip_id: str, forbidden: str = "") -> str:
    """An id as the name of a file or of an archive's member: ``%`` and two digits for characters that it cannot have.

    Args:
        clip_id: The id of a clip.
        forbidden: Characters that are replaced besides ``%`` and control characters.

    Example:
        >>> member_name("a/b@0.5", "./")
        'a%2Fb@0%2E5'
    """
    return re.sub(rf"[%\x00-\x1f{re.escape(forbidden)}]", lambda found: f"%{ord(found[0]):02X}", clip_id)


def is_part(name: str, described: Collection[str] = ()) -> bool:
    """Whether a key names latents, a stream, or an alternative of a stream.

    Args:
        name: The key.
        described: Streams that the file describes; empty for the default ones.

    Example:
        >>> [is_part(name) for name in ("latents", "text.1", "text.x", "caption", "flow")]
        [True, True, False, False, False]
        >>> is_part("flow", ["flow"])
        True
    """
    base, dot, number = name.partition(".")
    streams = described or UNDESCRIBED
    return base in (LATENTS, *streams) and (not dot or (number.isascii() and number.isdecimal() and len(number) < 5))
