"""Data types passed between modules, with the shape and unit of every tensor."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor

from prismaudio.errors import MediaError, NotApplicableError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence
    from pathlib import Path

    from prismaudio.plan import Plan

LATENTS = "latents"
"""The key of latents in feature files; no stream may have this name."""


def is_stream(name: str) -> bool:
    """Whether a name is valid for a stream: one lower-case word.

    Example:
        >>> is_stream("flow"), is_stream("latents"), is_stream("2d flow")
        (True, False, False)
    """
    return name != LATENTS and re.fullmatch(r"[a-z][a-z0-9_]{0,63}", name) is not None


Need = Literal["video", "plan", "reference"]
"""Inputs of a reward or metric besides the generated audio: the frames of the clip, its plan, its original audio."""
_MISSING: dict[Need, str] = {
    "video": "it needs frames, but there are none",
    "plan": "it needs a plan, but there is none",
    "reference": "it needs reference audio, but there is none",
}


def require(needs: Collection[Need], present: Collection[Need]) -> None:
    """Check that a clip has the inputs that a reward or a metric needs.

    Raises:
        NotApplicableError: An input is missing; the message names it.

    Example:
        >>> require({"video"}, Clip("a", 1.0).has)
        Traceback (most recent call last):
        prismaudio.errors.NotApplicableError: it needs frames, but there are none
    """
    for need, reason in _MISSING.items():
        if need in needs and need not in present:
            raise NotApplicableError(reason)


@dataclass(frozen=True)
class FrameSpec:
    """How the frames of a video are read.

    Args:
        fps: Frames per second. Each time step takes the frame with the nearest presentation time; a frame that stays
            on screen is repeated.
        size: Height and width in pixels, or one number for both, to which frames are resized during decoding.
        keep_aspect_ratio: Whether frames keep their aspect ratio; the size is then the maximum of the shorter side.
    """

    fps: float = 16.0
    size: int | tuple[int, int] = 48
    keep_aspect_ratio: bool = False

    @property
    def height_and_width(self) -> tuple[int, int]:
        """Height and width in pixels."""
        return self.size if isinstance(self.size, tuple) else (self.size, self.size)


@dataclass(frozen=True, eq=False)
class Clip:
    """A piece of video, of audio, or of both.

    Args:
        id: Name of the clip, unique in its dataset.
        duration_s: Duration in seconds.
        frames: Frames at a constant rate, uint8 ``(time, 3, height, width)``; None for audio without video.
        fps: Frames per second; None when there are none.
        audio: Stereo audio, float32 ``(2, samples)`` in -1 .. 1; None for silent video.
        sample_rate_hz: Samples per second; None without audio.
        file: The video file that the frames were read from, for other frames of it; None for a clip in memory.
        start_s: Start of the clip in that file, in seconds from its first frame.
    """

    id: str
    duration_s: float
    frames: Tensor | None = None
    fps: float | None = None
    audio: Tensor | None = None
    sample_rate_hz: int | None = None
    file: Path | None = None
    start_s: float = 0.0

    @property
    def has(self) -> frozenset[Need]:
        """The inputs that this clip offers to rewards and metrics."""
        parts: dict[Need, Tensor | None] = {"video": self.frames, "reference": self.audio}
        return frozenset(need for need, part in parts.items() if part is not None)

    def frames_at(self, fps: float) -> Tensor:
        """Frames at another rate: ``int(fps * duration_s)`` of them, at least 1.

        Each moment gets the nearest frame, and moments after the end the last one.

        Args:
            fps: Frames per second of the result.

        Raises:
            MediaError: The clip has no frames.

        Example:
            >>> Clip("a", 3.0, torch.arange(24), 8.0).frames_at(4.0).tolist()
            [0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22]
        """
        if self.frames is None or self.fps is None:
            raise MediaError(f"clip {self.id} has no frames")
        times_s = torch.arange(max(1, int(fps * self.duration_s + 1e-6)), device=self.frames.device) / fps
        return self.frames[(times_s * self.fps + 0.5).long().clamp(max=len(self.frames) - 1)]


class ClipBatch:
    """Clips with their target plans: the batch that a data module passes to a task.

    Args:
        clips: The clips.
        plans: Their plans, in the same order.
        features: Their precomputed latents and conditions; None if there are none.
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

    def to(self, device: torch.device | str, *, non_blocking: bool | None = None) -> ClipBatch:
        """Move frames and audio to a device, to a GPU in the background; called by Lightning."""
        non_blocking = _in_background(device) if non_blocking is None else non_blocking
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

    def pin_memory(self) -> ClipBatch:
        """Copy to page-locked memory, from which a GPU copies in the background; called by the data loader."""
        pinned = [
            replace(
                clip,
                frames=None if clip.frames is None else clip.frames.pin_memory(),
                audio=None if clip.audio is None else clip.audio.pin_memory(),
            )
            for clip in self.clips
        ]
        return ClipBatch(pinned, self.plans, None if self.features is None else self.features.pin_memory())


@dataclass(frozen=True, eq=False)
class Features:
    """The features of one conditioning stream.

    Args:
        values: Features ``(batch, time, dim)``, zero where ``mask`` is False.
        mask: True for features, False for padding, bool ``(batch, time)``.
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
        """Features ``(time, dim)`` of each sample without padding at the end: the inverse of :meth:`pad`."""
        last = (self.mask * torch.arange(1, 1 + self.mask.shape[1], device=self.mask.device)).amax(1)
        return [row[:length] for row, length in zip(self.values, last.tolist(), strict=True)]

    def map(self, change: Callable[[Tensor], Tensor]) -> Features:
        """Apply ``change`` to both tensors."""
        return Features(change(self.values), change(self.mask))

    def with_values(self, values: Tensor) -> Features:
        """The same mask with new values ``(batch, time, any dim)``, set to zero in the padding."""
        return Features(values * self.mask[..., None], self.mask)

    def padded(self, length: int) -> Features:
        """The same stream, padded to at least ``length`` features."""
        more = max(0, length - self.mask.shape[1])
        return Features(
            torch.nn.functional.pad(self.values, (0, 0, 0, more)), torch.nn.functional.pad(self.mask, (0, more))
        )

    def unmasked(self) -> Features:
        """The same values with a mask that is True everywhere, as for a network without masks."""
        return Features(self.values, torch.ones_like(self.mask))

    def null(self) -> Features:
        """An empty stream of the same shape: zero values, mask False."""
        return Features(torch.zeros_like(self.values), torch.zeros_like(self.mask))


class Conditions(Mapping[str, "Features"]):
    """The conditioning of the transformer: features by stream name.

    Args:
        streams: Features by stream; None for a stream that is missing.
        more: Further streams.

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

    def to(
        self,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
        *,
        non_blocking: bool = False,
    ) -> Conditions:
        """Move to a device; ``dtype`` is for the values, masks stay bool."""
        return self.map(
            lambda s: Features(
                s.values.to(device, dtype, non_blocking=non_blocking), s.mask.to(device, non_blocking=non_blocking)
            )
        )

    def pin_memory(self) -> Conditions:
        """Copy to page-locked memory, from which a GPU copies in the background."""
        return self.map(lambda s: s.map(Tensor.pin_memory))

    def index(self, rows: Tensor) -> Conditions:
        """Pick samples by row index or bool mask ``(batch,)``; an index may repeat."""
        return self.map(lambda s: s.map(lambda x: x[rows]))

    def unmasked(self) -> Conditions:
        """The mask of every stream is True everywhere, as in the published model, whose results depend on the batch.

        Only for comparisons with the published model.
        """
        return self.map(Features.unmasked)

    def null(self) -> Conditions:
        """The conditions of the unconditional branch: empty streams of the same shapes."""
        return self.map(Features.null)

    def drop(self, rows: Mapping[str, Tensor]) -> Conditions:
        """Replace streams of some samples by empty ones.

        Args:
            rows: For each stream to drop, bool ``(batch,)``, True for the samples that lose it.
        """
        kept = dict(self)
        for name in rows.keys() & self.keys():
            keep = ~rows[name].to(self[name].mask.device)[:, None]
            kept[name] = Features(self[name].values * keep[..., None], self[name].mask & keep)
        return Conditions(kept)

    @staticmethod
    def cat(first: Conditions, second: Conditions) -> Conditions:
        """Concatenate two batches of the same size, as for guidance; a stream that one of them lacks is empty there."""
        joined = {}
        for name in dict.fromkeys([*first, *second]):
            present = [some[name] for some in (first, second) if name in some]
            length = max(stream.mask.shape[1] for stream in present)
            a, b = (some.get(name, present[0].null()).padded(length) for some in (first, second))
            joined[name] = Features(torch.cat([a.values, b.values]), torch.cat([a.mask, b.mask]))
        return Conditions(joined)


@dataclass(frozen=True, eq=False)
class LatentBatch:
    """Latents and conditions computed before training: the batch that a data module of features passes to a task.

    Args:
        ids: Names of the clips.
        latents: Latents ``(batch, channels, frames)``, zero where ``mask`` is False.
        mask: True for frames, False for padding, bool ``(batch, frames)``; padding is at the end.
        conditions: The conditions of the clips.
        lengths: Number of frames of each clip, on the host, so that using them does not wait for a GPU; by default
            they are read from the mask.

    Example:
        >>> mask = torch.tensor([[True, True], [True, False]])
        >>> LatentBatch(["a", "b"], torch.zeros(2, 4, 2), mask, Conditions()).lengths
        (2, 1)
    """

    ids: list[str]
    latents: Tensor
    mask: Tensor
    conditions: Conditions
    lengths: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if not self.lengths:
            object.__setattr__(self, "lengths", tuple(self.mask.sum(1).tolist()))

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def padded_mask(self) -> Tensor | None:
        """The mask, or None where no frame is padding, which allows faster kernels of attention."""
        return None if min(self.lengths, default=0) == self.mask.shape[1] else self.mask

    def to(self, device: torch.device | str, *, non_blocking: bool | None = None) -> LatentBatch:
        """Move to a device, to a GPU in the background; called by Lightning."""
        non_blocking = _in_background(device) if non_blocking is None else non_blocking
        return LatentBatch(
            self.ids,
            self.latents.to(device, non_blocking=non_blocking),
            self.mask.to(device, non_blocking=non_blocking),
            self.conditions.to(device, non_blocking=non_blocking),
            self.lengths,
        )

    def pin_memory(self) -> LatentBatch:
        """Copy to page-locked memory, from which a GPU copies in the background; called by the data loader."""
        return LatentBatch(
            self.ids, self.latents.pin_memory(), self.mask.pin_memory(), self.conditions.pin_memory(), self.lengths
        )


def _in_background(device: torch.device | str) -> bool:
    """Whether tensors of the host may be moved to a device without waiting: it keeps the order, unlike the way back."""
    return torch.device(device).type == "cuda"
