"""The shape and unit of every tensor that crosses a module boundary, said once."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor

from prismaudio.errors import NotApplicableError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    from prismaudio.plan import Plan

LATENTS = "latents"
"""What latents are called beside streams, in files of features; no stream is."""


def is_stream(name: str) -> bool:
    """Whether streams may have a name: one lower-case word.

    Example:
        >>> is_stream("flow"), is_stream("latents"), is_stream("2d flow")
        (True, False, False)
    """
    return name != LATENTS and re.fullmatch(r"[a-z][a-z0-9_]{0,63}", name) is not None


Need = Literal["video", "plan", "reference"]
"""What a judge may look at beside the sound: the frames of the clip, its plan, and the clip's own sound."""
_MISSING: dict[Need, str] = {
    "video": "it needs frames, and there are none",
    "plan": "it needs a plan, and there is none",
    "reference": "it needs a reference sound, and there is none",
}


def require(needs: Collection[Need], present: Collection[Need]) -> None:
    """See that a clip has what a reward or a metric needs.

    Raises:
        NotApplicableError: It lacks something; the text says what.

    Example:
        >>> require({"video"}, Clip("a", 1.0).has)
        Traceback (most recent call last):
        prismaudio.errors.NotApplicableError: it needs frames, and there are none
    """
    for need, reason in _MISSING.items():
        if need in needs and need not in present:
            raise NotApplicableError(reason)


@dataclass(frozen=True)
class FrameSpec:
    """How the frames of a video are read.

    Args:
        fps: Frames per second. Each moment gets the frame whose presentation time is nearest, and a frame that is held
            on screen is held in the clip.
        size: Height and width in pixels, or one number for both, to which a frame is squashed while it is decoded.
        keep_aspect_ratio: Whether frames keep their aspect ratio; then the size is the most that the shorter side has.
    """

    fps: float = 16.0
    size: int | tuple[int, int] = 48
    keep_aspect_ratio: bool = False

    @property
    def height_and_width(self) -> tuple[int, int]:
        """The size, as two numbers."""
        return self.size if isinstance(self.size, tuple) else (self.size, self.size)


@dataclass(frozen=True, eq=False)
class Clip:
    """A stretch of video, of sound, or of both.

    Args:
        id: Name of the clip, unique in its data set.
        duration_s: Duration in seconds.
        frames: Frames at a constant rate, uint8 ``(time, 3, height, width)``; None for sound without frame.
        fps: Frames per second; None when there are none.
        audio: GeneratedAudio, float32 ``(2, samples)`` in -1 .. 1; None for silent video.
        sample_rate_hz: Samples per second; None when there is no sound.
    """

    id: str
    duration_s: float
    frames: Tensor | None = None
    fps: float | None = None
    audio: Tensor | None = None
    sample_rate_hz: int | None = None

    @property
    def has(self) -> frozenset[Need]:
        """What there is to compare a sound with."""
        parts: dict[Need, Tensor | None] = {"video": self.frames, "reference": self.audio}
        return frozenset(need for need, part in parts.items() if part is not None)


class ClipBatch:
    """Clips with the plans that they should have: what a data module gives to a task.

    Args:
        clips: The clips.
        plans: Their plans, in the same order.
        features: Their latents and conditions, where these were computed before.
    """

    def __init__(self, clips: Sequence[Clip], plans: Sequence[Plan], features: LatentBatch | None = None) -> None:
        self.clips = list(clips)
        self.plans = list(plans)
        self.features = features

    @property
    def ids(self) -> list[str]:
        """Names of the clips."""
        return [clip.id for clip in self.clips]

    def __len__(self) -> int:
        return len(self.clips)

    def to(self, device: torch.device | str, *, non_blocking: bool = False) -> ClipBatch:
        """Move frames and sound to a device; Lightning calls this."""
        moved = [
            replace(
                clip,
                frames=None if clip.frames is None else clip.frames.to(device, non_blocking=non_blocking),
                audio=None if clip.audio is None else clip.audio.to(device, non_blocking=non_blocking),
            )
            for clip in self.clips
        ]
        features = None if self.features is None else self.features.to(device, non_blocking=non_blocking)
        return ClipBatch(moved, self.plans, features)


@dataclass(frozen=True, eq=False)
class Features:
    """One stream of conditions.

    Args:
        values: Features ``(batch, time, dim)``, zero where ``mask`` is False.
        mask: True where a feature is real, bool ``(batch, time)``.
    """

    values: Tensor
    mask: Tensor

    @classmethod
    def pad(cls, items: Sequence[Tensor]) -> Features:
        """Stack features ``(time, dim)`` of several samples, padded to the longest.

        Example:
            >>> Features.pad([torch.ones(2, 4), torch.ones(3, 4)]).mask.sum(1).tolist()
            [2, 3]
        """
        values = torch.nn.utils.rnn.pad_sequence(list(items), batch_first=True)
        lengths = torch.tensor([len(item) for item in items])
        return cls(values, torch.arange(values.shape[1]) < lengths[:, None])

    def rows(self) -> list[Tensor]:
        """Features ``(time, dim)`` of each sample, up to its last real one: the inverse of :meth:`pad`."""
        last = (self.mask * torch.arange(1, 1 + self.mask.shape[1], device=self.mask.device)).amax(1)
        return [row[:length] for row, length in zip(self.values, last.tolist(), strict=True)]

    def map(self, change: Callable[[Tensor], Tensor]) -> Features:
        """Apply ``change`` to both tensors."""
        return Features(change(self.values), change(self.mask))

    def with_values(self, values: Tensor) -> Features:
        """The same stream with other values ``(batch, time, any dim)``, made zero where nothing is real."""
        return Features(values * self.mask[..., None], self.mask)

    def padded(self, length: int) -> Features:
        """The same stream, ``length`` features long or longer."""
        more = max(0, length - self.mask.shape[1])
        return Features(
            torch.nn.functional.pad(self.values, (0, 0, 0, more)), torch.nn.functional.pad(self.mask, (0, more))
        )

    def unmasked(self) -> Features:
        """The stream as a network without masks sees it: padding counts as real."""
        return Features(self.values, torch.ones_like(self.mask))

    def null(self) -> Features:
        """The same stream with nothing in it."""
        return Features(torch.zeros_like(self.values), torch.zeros_like(self.mask))


class Conditions(Mapping[str, "Features"]):
    """Everything that the transformer is told about the audio: features by the name of their stream.

    Args:
        streams: Features by stream; None for a stream that is missing.
        more: Further ones.

    Example:
        >>> conditions = Conditions(text=Features.pad([torch.ones(3, 4)]))
        >>> list(conditions), conditions["text"].values.shape
        (['text'], torch.Size([1, 3, 4]))
    """

    def __init__(
        self, streams: Mapping[str, Features | None] = MappingProxyType({}), /, **more: Features | None
    ) -> None:
        self._streams = {name: stream for name, stream in {**streams, **more}.items() if stream is not None}

    def __getitem__(self, name: str) -> Features:
        return self._streams[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._streams)

    def __len__(self) -> int:
        return len(self._streams)

    def map(self, change: Callable[[Features], Features]) -> Conditions:
        """Apply ``change`` to every stream."""
        return Conditions({name: change(stream) for name, stream in self.items()})

    def to(self, device: torch.device | str | None = None, dtype: torch.dtype | None = None) -> Conditions:
        """Move to a device; ``dtype`` is for the values, masks stay bool."""
        return self.map(lambda s: Features(s.values.to(device, dtype), s.mask.to(device)))

    def index(self, rows: Tensor) -> Conditions:
        """Pick samples by row index or bool mask ``(batch,)``; an index may repeat."""
        return self.map(lambda s: s.map(lambda x: x[rows]))

    def unmasked(self) -> Conditions:
        """Padding counts as real in every stream: what the published model sees, whose results depend on the batch.

        For comparisons with it only.
        """
        return self.map(Features.unmasked)

    def null(self) -> Conditions:
        """The unconditional branch: the same shapes, nothing in them."""
        return self.map(Features.null)

    def drop(self, rows: Mapping[str, Tensor]) -> Conditions:
        """Empty streams for some samples.

        Args:
            rows: For each stream to drop from, bool ``(batch,)``, True where the sample loses it.
        """
        kept = dict(self)
        for name in rows.keys() & self.keys():
            keep = ~rows[name].to(self[name].mask.device)[:, None]
            kept[name] = Features(self[name].values * keep[..., None], self[name].mask & keep)
        return Conditions(kept)

    @staticmethod
    def cat(first: Conditions, second: Conditions) -> Conditions:
        """Join two batches of one size, as a guided forward does; what only one of them has is empty in the other."""
        joined = {}
        for name in dict.fromkeys([*first, *second]):
            present = [some[name] for some in (first, second) if name in some]
            length = max(stream.mask.shape[1] for stream in present)
            a, b = (some.get(name, present[0].null()).padded(length) for some in (first, second))
            joined[name] = Features(torch.cat([a.values, b.values]), torch.cat([a.mask, b.mask]))
        return Conditions(joined)


@dataclass(frozen=True, eq=False)
class LatentBatch:
    """Latents and conditions that were computed before training: what a data module of features gives to a task.

    Args:
        ids: Names of the clips.
        latents: Latents ``(batch, channels, frames)``, zero where ``mask`` is False.
        mask: True where a frame is real, bool ``(batch, frames)``; real frames come first.
        conditions: Their conditions.
    """

    ids: list[str]
    latents: Tensor
    mask: Tensor
    conditions: Conditions

    def __len__(self) -> int:
        return len(self.ids)

    def to(self, device: torch.device | str, *, non_blocking: bool = False) -> LatentBatch:
        """Move to a device; Lightning calls this."""
        latents = self.latents.to(device, non_blocking=non_blocking)
        return LatentBatch(self.ids, latents, self.mask.to(device), self.conditions.to(device))
