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


@dataclass(frozen=True)
class Grid:
    """Windows of a length that suits the model, at places where latents and pictures fall together.

    Args:
        rate_hz: Latent frames per second.
        fps: Pictures per second.
        window_s: Length of a window in seconds.

    Example:
        >>> grid = Grid(Fraction(125, 2), Fraction(16), 4.0)
        >>> grid.frames, grid.hop, grid.starts(2.5), grid.starts(9.0)
        (250, 125, [0], [0, 125, 250, 375])
    """

    rate_hz: Fraction
    fps: Fraction
    window_s: float

    @property
    def frames(self) -> int:
        """Latent frames of a window."""
        return round(self.window_s * self.rate_hz)

    @property
    def hop(self) -> int:
        """Latent frames from one window to the next: about half a window, and a whole number of pictures."""
        together = (self.rate_hz / self.fps).numerator
        return together * max(1, round(self.frames / 2 / together)) if together <= self.frames / 2 else self.frames // 2

    def starts(self, duration_s: float) -> list[int]:
        """Latent frames where the windows begin that cover a clip."""
        beyond = max(0, math.ceil(duration_s * self.rate_hz) - self.frames)
        return [self.hop * i for i in range(1 + math.ceil(beyond / self.hop))]

    def total(self, duration_s: float) -> int:
        """Latent frames that the windows of a clip cover together."""
        return self.starts(duration_s)[-1] + self.frames

    def crop(self, clip: Clip, start: int) -> Clip:
        """The clip of one window; the last picture is held where the clip is too short."""
        start_s = float(start / self.rate_hz)
        name = f"{clip.id}@{start}"
        if clip.frames is None or clip.fps is None:
            return Clip(name, self.window_s)
        first, length = round(start_s * clip.fps), round(self.window_s * clip.fps)
        return Clip(name, self.window_s, hold(clip.frames[first : first + length], length, clip.frames), clip.fps)

    def fade(self, *, is_first: bool, is_last: bool) -> Tensor:
        """Weights ``(frames,)`` of a window; those of neighbours add up to 1 where they overlap."""
        overlap = self.frames - self.hop
        ramp = ((torch.arange(overlap) + 0.5) / overlap - QUIET_SHARE) / (1 - 2 * QUIET_SHARE)
        ramp = ramp.clamp(0, 1)
        weights = torch.ones(self.frames)
        if not is_first:
            weights[:overlap] = ramp
        if not is_last:
            weights[-overlap:] *= ramp.flip(0)
        return weights


def hold(frames: Tensor, length: int, otherwise: Tensor) -> Tensor:
    """Pictures ``(length, 3, height, width)``: the last one is held; with none, that of ``otherwise``."""
    if len(frames) >= length:
        return frames[:length]
    last = (frames if len(frames) else otherwise)[-1:]
    return torch.cat([frames, last.expand(length - len(frames), *last.shape[1:])])


def padded(clip: Clip, duration_s: float) -> Clip:
    """A clip that lasts at least ``duration_s``: its last picture is held."""
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
