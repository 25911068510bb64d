"""Segments of long clips: their positions, and the cross-fade of their velocities at every sampling step."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import TYPE_CHECKING

import torch

from prismaudio.samplers.base import on_device_of
from prismaudio.types import Clip

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from torch import Tensor

    from prismaudio.samplers.base import Velocity

QUIET_SHARE = 0.15
"""Share of an overlap, at either end, where only one segment is used, because segments are worst at their edges."""
CHUNK_SEGMENTS = 96
"""Segments that are sampled together; bounds the memory for cached conditions."""
SHARED_SEGMENTS = 8
"""Segments that two consecutive chunks of a clip share; the chunks are cross-faded in the middle of these."""


@dataclass(frozen=True)
class Chunk:
    """Consecutive segments of a clip that are sampled together; a short clip is one chunk.

    Args:
        row: Index of the clip in its batch.
        starts: First latent frame of each segment.
        is_first: Whether it is the first chunk of the clip.
        is_last: Whether it is the last chunk of the clip.
    """

    row: int
    starts: tuple[int, ...]
    is_first: bool = True
    is_last: bool = True


@dataclass(frozen=True)
class Grid:
    """Positions of segments, at times where latent frames and video frames coincide.

    Args:
        rate_hz: Latent frames per second.
        fps: Frames per second.
        segment_s: Length of a segment in seconds.

    Example:
        >>> grid = Grid(Fraction(125, 2), Fraction(16), 4.0)
        >>> grid.frames, grid.hop, grid.starts(2.5), grid.starts(9.0)
        (250, 125, [0], [0, 125, 250, 375])
    """

    rate_hz: Fraction
    fps: Fraction
    segment_s: float

    @property
    def frames(self) -> int:
        """Latent frames of a segment."""
        return round(self.segment_s * self.rate_hz)

    @property
    def hop(self) -> int:
        """Latent frames between segment starts: about half a segment, and a whole number of video frames."""
        together = (self.rate_hz / self.fps).numerator
        return together * max(1, round(self.frames / 2 / together)) if together <= self.frames / 2 else self.frames // 2

    def starts(self, duration_s: float) -> list[int]:
        """First latent frames of the segments that cover a clip."""
        beyond = max(0, math.ceil(duration_s * self.rate_hz) - self.frames)
        return [self.hop * i for i in range(1 + math.ceil(beyond / self.hop))]

    def total(self, duration_s: float) -> int:
        """Number of latent frames that the segments of a clip cover."""
        return self.starts(duration_s)[-1] + self.frames

    def chunks(self, row: int, duration_s: float) -> list[Chunk]:
        """The chunks of a clip; consecutive chunks share :data:`SHARED_SEGMENTS` segments.

        Example:
            >>> [len(chunk.starts) for chunk in Grid(Fraction(125, 2), Fraction(16), 4.0).chunks(0, 600.0)]
            [96, 96, 96, 35]
        """
        starts = self.starts(duration_s)
        firsts = range(0, max(1, len(starts) - SHARED_SEGMENTS), CHUNK_SEGMENTS - SHARED_SEGMENTS)
        return [
            Chunk(row, tuple(starts[first : first + CHUNK_SEGMENTS]), first == 0, first == firsts[-1])
            for first in firsts
        ]

    def crop(self, clip: Clip, start: int) -> Clip:
        """The clip of one segment; the last frame is repeated if the clip is too short."""
        start_s = float(start / self.rate_hz)
        name = f"{clip.id}@{start}"
        if clip.frames is None or clip.fps is None:
            return Clip(name, self.segment_s)
        first, length = round(start_s * clip.fps), round(self.segment_s * clip.fps)
        return Clip(
            name, self.segment_s, repeat_last_frame(clip.frames[first : first + length], length, clip.frames), clip.fps
        )

    def fade(self, *, is_first: bool, is_last: bool) -> Tensor:
        """Cross-fade weights ``(frames,)`` of a segment; overlapping weights sum to 1."""
        overlap = self.frames - self.hop
        return cross_fade(self.frames, overlap, (1 - 2 * QUIET_SHARE) * overlap, is_first=is_first, is_last=is_last)

    def chunk_fade(self, chunk: Chunk) -> Tensor:
        """Cross-fade weights of the latent frames of a chunk; overlapping weights sum to 1."""
        n_frames = chunk.starts[-1] - chunk.starts[0] + self.frames
        overlap = (SHARED_SEGMENTS - 1) * self.hop + self.frames
        return cross_fade(n_frames, overlap, self.hop, is_first=chunk.is_first, is_last=chunk.is_last)


def cross_fade(n_frames: int, overlap: int, n_ramp: float, *, is_first: bool, is_last: bool) -> Tensor:
    """Weights ``(n_frames,)`` of a piece that is cross-faded with the previous and the next one.

    Args:
        n_frames: Length of the piece.
        overlap: Frames shared with each neighbour.
        n_ramp: Length of the fade in the middle of the overlap.
        is_first: Whether there is no previous piece.
        is_last: Whether there is no next piece.

    Example:
        >>> cross_fade(6, 4, 2, is_first=False, is_last=True)
        tensor([0.0000, 0.2500, 0.7500, 1.0000, 1.0000, 1.0000])
    """
    ramp = ((torch.arange(overlap) + 0.5 - overlap / 2) / n_ramp + 0.5).clamp(0, 1)
    weights = torch.ones(n_frames)
    if not is_first:
        weights[:overlap] = ramp
    if not is_last:
        weights[-overlap:] *= ramp.flip(0)
    return weights


def repeat_last_frame(frames: Tensor, length: int, fallback: Tensor) -> Tensor:
    """Frames ``(length, 3, height, width)``, padded with the last frame, or, if empty, with that of ``fallback``."""
    if len(frames) >= length:
        return frames[:length]
    last = (frames if len(frames) else fallback)[-1:]
    return torch.cat([frames, last.expand(length - len(frames), *last.shape[1:])])


def padded(clip: Clip, duration_s: float) -> Clip:
    """Pad a clip to at least ``duration_s`` by repeating its last frame."""
    if clip.duration_s >= duration_s:
        return clip
    if clip.frames is None or clip.fps is None:
        return replace(clip, duration_s=duration_s)
    frames = repeat_last_frame(clip.frames, round(duration_s * clip.fps), clip.frames)
    return replace(clip, frames=frames, duration_s=duration_s, audio=None, sample_rate_hz=None)


def joined(
    places: Sequence[tuple[int, int]], grid: Grid, velocities: Sequence[tuple[slice, Velocity]]
) -> Callable[[Tensor, Tensor], Tensor]:
    """Combine the velocities of segments to one velocity of whole clips, cross-faded at every sampling step.

    All segments of a clip share the same latents, so that their content is consistent where they overlap.

    Args:
        places: Row and first latent frame of each segment, the segments of a row in order.
        grid: The grid.
        velocities: Velocity of each batch of consecutive segments, with the slice of its segments.
    """
    rows = torch.tensor([row for row, _ in places])
    fades = torch.stack(
        [
            grid.fade(is_first=start == 0, is_last=i + 1 == len(places) or places[i + 1][0] != row)
            for i, (row, start) in enumerate(places)
        ]
    )

    def velocity(latents: Tensor, times: Tensor) -> Tensor:
        whole = torch.zeros_like(latents)
        pieces = torch.stack([latents[row, :, start : start + grid.frames] for row, start in places])
        for batch, of_segments in velocities:
            faded = of_segments(pieces[batch], times[rows[batch].to(times.device)])
            faded = faded.to(latents.dtype) * on_device_of(latents, fades[batch, None]).to(latents.dtype)
            for (row, start), piece in zip(places[batch], faded, strict=True):
                whole[row, :, start : start + grid.frames] += piece
        return whole

    return velocity
