"""Sound of any length from a network that renders one window: where the windows lie and how they are joined."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import TYPE_CHECKING

import torch

from prismaudio.samplers.base import beside
from prismaudio.types import Clip

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from torch import Tensor

    from prismaudio.samplers.base import Velocity

QUIET_SHARE = 0.15
"""Share of an overlap, at either of its ends, where one window alone is heard: windows are weakest at their edges."""
CHUNK_SEGMENTS = 96
"""Windows that are sampled together: what the network keeps for each of them bounds the memory."""
SHARED_SEGMENTS = 8
"""Windows that two consecutive segments of a clip both sample; in the middle of them one fades into the other."""


@dataclass(frozen=True)
class Segment:
    """Consecutive windows of a clip that are sampled together; a clip of usual length is one segment.

    Args:
        row: Place of the clip in its batch.
        starts: Latent frames of the clip at which the windows begin.
        is_first: Whether the clip begins with it.
        is_last: Whether the clip ends with it.
    """

    row: int
    starts: tuple[int, ...]
    is_first: bool = True
    is_last: bool = True


@dataclass(frozen=True)
class Grid:
    """Windows of a length that suits the model, at places where latents and frames fall together.

    Args:
        rate_hz: Latent frames per second.
        fps: Frames per second.
        segment_s: Length of a window in seconds.

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
        """Latent frames of a window."""
        return round(self.segment_s * self.rate_hz)

    @property
    def hop(self) -> int:
        """Latent frames from one window to the next: about half a window, and a whole number of frames."""
        together = (self.rate_hz / self.fps).numerator
        return together * max(1, round(self.frames / 2 / together)) if together <= self.frames / 2 else self.frames // 2

    def starts(self, duration_s: float) -> list[int]:
        """Latent frames where the windows begin that cover a clip."""
        beyond = max(0, math.ceil(duration_s * self.rate_hz) - self.frames)
        return [self.hop * i for i in range(1 + math.ceil(beyond / self.hop))]

    def total(self, duration_s: float) -> int:
        """Latent frames that the windows of a clip cover together."""
        return self.starts(duration_s)[-1] + self.frames

    def segments(self, row: int, duration_s: float) -> list[Segment]:
        """The segments of a clip; two that follow each other share :data:`SHARED_SEGMENTS` windows.

        Example:
            >>> [len(segment.starts) for segment in Grid(Fraction(125, 2), Fraction(16), 4.0).segments(0, 600.0)]
            [96, 96, 96, 35]
        """
        starts = self.starts(duration_s)
        firsts = range(0, max(1, len(starts) - SHARED_SEGMENTS), CHUNK_SEGMENTS - SHARED_SEGMENTS)
        return [
            Segment(row, tuple(starts[first : first + CHUNK_SEGMENTS]), first == 0, first == firsts[-1])
            for first in firsts
        ]

    def crop(self, clip: Clip, start: int) -> Clip:
        """The clip of one window; the last frame is held where the clip is too short."""
        start_s = float(start / self.rate_hz)
        name = f"{clip.id}@{start}"
        if clip.frames is None or clip.fps is None:
            return Clip(name, self.segment_s)
        first, length = round(start_s * clip.fps), round(self.segment_s * clip.fps)
        return Clip(name, self.segment_s, hold(clip.frames[first : first + length], length, clip.frames), clip.fps)

    def fade(self, *, is_first: bool, is_last: bool) -> Tensor:
        """Weights ``(frames,)`` of a window; those of neighbours add up to 1 where they overlap."""
        overlap = self.frames - self.hop
        return cross_fade(self.frames, overlap, (1 - 2 * QUIET_SHARE) * overlap, is_first=is_first, is_last=is_last)

    def chunk_fade(self, segment: Segment) -> Tensor:
        """Weights of the latent frames of a segment; those of neighbours add up to 1 where they overlap."""
        n_frames = segment.starts[-1] - segment.starts[0] + self.frames
        overlap = (SHARED_SEGMENTS - 1) * self.hop + self.frames
        return cross_fade(n_frames, overlap, self.hop, is_first=segment.is_first, is_last=segment.is_last)


def cross_fade(n_frames: int, overlap: int, n_ramp: float, *, is_first: bool, is_last: bool) -> Tensor:
    """Weights ``(n_frames,)`` of a piece that fades from the one before it and into the one after it.

    Args:
        n_frames: Length of the piece.
        overlap: Frames that it shares with each neighbour.
        n_ramp: How many of these, in the middle, the fade takes.
        is_first: Whether there is no piece before it.
        is_last: Whether there is none after it.

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


def hold(frames: Tensor, length: int, otherwise: Tensor) -> Tensor:
    """Frames ``(length, 3, height, width)``: the last one is held; with none, that of ``otherwise``."""
    if len(frames) >= length:
        return frames[:length]
    last = (frames if len(frames) else otherwise)[-1:]
    return torch.cat([frames, last.expand(length - len(frames), *last.shape[1:])])


def padded(clip: Clip, duration_s: float) -> Clip:
    """A clip that lasts at least ``duration_s``: its last frame is held."""
    if clip.duration_s >= duration_s:
        return clip
    if clip.frames is None or clip.fps is None:
        return replace(clip, duration_s=duration_s)
    frames = hold(clip.frames, round(duration_s * clip.fps), clip.frames)
    return replace(clip, frames=frames, duration_s=duration_s, audio=None, sample_rate_hz=None)


def joined(
    places: Sequence[tuple[int, int]], grid: Grid, velocities: Sequence[tuple[slice, Velocity]]
) -> Callable[[Tensor, Tensor], Tensor]:
    """One velocity for whole clips: those of their windows, cross-faded at every step of the sampler.

    All windows of a clip see the same latents, so that they agree on what happens where they overlap.

    Args:
        places: Row and first latent frame of each window, the windows of a row in order.
        grid: The grid.
        velocities: Velocities of consecutive windows; each slice says which ones.
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
        for some, of_window in velocities:
            moved = of_window(pieces[some], times[rows[some].to(times.device)])
            moved = moved.to(latents.dtype) * beside(latents, fades[some, None]).to(latents.dtype)
            for (row, start), piece in zip(places[some], moved, strict=True):
                whole[row, :, start : start + grid.frames] += piece
        return whole

    return velocity
