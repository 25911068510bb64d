"""Where the latents and features of a clip are, in files of any of the formats that are read."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from prismaudio.types import LATENTS

UNDESCRIBED = ("video", "sync", "text", "plan")
"""Streams of files that do not say which they have."""
UNTIMED = "text"
"""The stream that does not run along time, unless a description says otherwise."""


@dataclass(frozen=True)
class StoredTensor:
    """One tensor of a clip, on disk.

    Args:
        path: Its file.
        key: Its name in there.
        shape: Its shape: ``(channels, frames)`` of latents, ``(time, width)`` of features.
        begin: First byte of the member that holds it, in an archive.
        size: Bytes of that member.
    """

    path: Path
    key: str
    shape: tuple[int, ...]
    begin: int = 0
    size: int = 0


@dataclass(frozen=True)
class Record:
    """What was computed of one clip.

    Args:
        id: Name of the clip.
        parts: Its tensors: ``latents``, streams such as ``video``, and alternatives of a stream such as ``text.1``.
        info: What else is known of it, such as ``duration_s`` and ``split``.
    """

    id: str
    parts: Mapping[str, StoredTensor]
    info: Mapping[str, Any] = field(default_factory=dict)

    @property
    def n_frames(self) -> int:
        """Latent frames."""
        return self.parts[LATENTS].shape[1]

    @property
    def n_texts(self) -> int:
        """How many texts there are to choose from.

        Example:
            >>> parts = {name: StoredTensor(Path("a"), name, (4, 2)) for name in ("latents", "text", "text.1", "plan")}
            >>> Record("a", parts).n_texts
            2
        """
        numbers = [int(name.partition(".")[2] or 0) for name in self.parts]
        return 1 + max(numbers, default=0)

    def stream(self, name: str, text: int = 0) -> StoredTensor | None:
        """A stream, told by the given one of its texts; None when the clip has no such stream."""
        return self.parts.get(f"{name}.{text}" if text else name, self.parts.get(name))


@dataclass(frozen=True)
class Contents:
    """What one file holds.

    Args:
        path: The file.
        records: Its clips, by id.
        description: What they were computed with, see :mod:`prismaudio.data.description`; None when it does not say.
    """

    path: Path
    records: Mapping[str, Record]
    description: Mapping[str, Any] | None = None


def is_part(name: str, described: Collection[str] = ()) -> bool:
    """Whether a name is one of ours: latents, a stream, or an alternative of one.

    Args:
        name: The name.
        described: Streams that the file describes; those of files that describe none are the published ones.

    Example:
        >>> [is_part(name) for name in ("latents", "text.1", "text.x", "caption", "flow")]
        [True, True, False, False, False]
        >>> is_part("flow", ["flow"])
        True
    """
    base, dot, number = name.partition(".")
    streams = described or UNDESCRIBED
    return base in (LATENTS, *streams) and (not dot or (number.isascii() and number.isdecimal() and len(number) < 5))
