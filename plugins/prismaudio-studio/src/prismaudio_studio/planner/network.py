"""A small video network that sees which things make which sounds, when and where.

Shape letters: B batch, T frames, K classes, D width, S steps (frames times sub-steps).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

SPAN = 0.88
"""Share of the frame's width between -60 and +60 degrees."""


@dataclass(frozen=True, eq=False)
class Sightings:
    """What the network sees, as logits unless said otherwise.

    Args:
        onsets: A sound begins, ``(batch, steps, classes)``.
        sounding: A lasting sound is on, ``(batch, frames, classes)``.
        azimuth: Direction / 60 degrees, ``(batch, frames, classes)``; not a logit.
        columns: In which column of the frame the class is, log chances ``(batch, frames, classes, columns)``.
        present: The class is there, ``(batch, classes)``.
        lasting: Its sound lasts, ``(batch, classes)``.
        size: Small, medium or large, ``(batch, classes, 3)``.
        quality: Sound quality, ``(batch, qualities)``.
        room: Acoustics, ``(batch, rooms)``.
    """

    onsets: Tensor
    sounding: Tensor
    azimuth: Tensor
    columns: Tensor
    present: Tensor
    lasting: Tensor
    size: Tensor
    quality: Tensor
    room: Tensor


class EventNetwork(nn.Module):
    """Patches and their change, convolutions in space, a map of places for each class, convolutions in time.

    Args:
        n_classes: Number of sound classes.
        n_qualities: Number of sound qualities.
        n_rooms: Number of acoustics.
        frame_size: Height and width of the frames.
        patch: Height and width of a patch; divides ``frame_size``.
        width: Width in space.
        time_width: Width in time.
        depth: Dilated convolutions in time.
        sub_steps: Onset steps for each frame.
    """

    across: Tensor

    def __init__(
        self,
        n_classes: int,
        n_qualities: int = 4,
        n_rooms: int = 3,
        frame_size: int = 48,
        patch: int = 4,
        width: int = 40,
        time_width: int = 192,
        depth: int = 7,
        sub_steps: int = 4,
    ) -> None:
        super().__init__()
        self.n_classes, self.sub_steps, self.frame_size, self.patch = n_classes, sub_steps, frame_size, patch
        cells = frame_size // patch
        self.embed = nn.Conv2d(6, width, patch, stride=patch)
        self.near = nn.Conv2d(width, width, 3, padding=1)
        self.far = nn.Conv2d(width, width, 3, padding=1)
        self.place = nn.Parameter(torch.zeros(width, cells, cells))
        self.maps = nn.Conv2d(width, n_classes, 1)
        self.to_time = nn.Linear(2 * cells * width + 3 * n_classes, time_width)
        self.in_time = nn.ModuleList(
            nn.Conv1d(time_width, time_width, 3, padding=2**d, dilation=2**d) for d in (i % 4 for i in range(depth))
        )
        self.norms = nn.ModuleList(nn.LayerNorm(time_width) for _ in range(depth))
        self.onsets = nn.Linear(time_width, sub_steps * n_classes)
        self.sounding = nn.Linear(time_width, n_classes)
        self.azimuth = nn.Linear(time_width, n_classes)
        self.whole = nn.Sequential(nn.Linear(2 * time_width + 2 * width, time_width), nn.SiLU())
        self.split = (n_classes, n_classes, 3 * n_classes, n_qualities, n_rooms)
        self.answers = nn.Linear(time_width, sum(self.split))
        nn.init.zeros_(self.azimuth.weight)
        nn.init.zeros_(self.azimuth.bias)
        nn.init.constant_(self.onsets.bias, -4.0)
        across = (torch.arange(cells) + 0.5) / cells * 2 - 1
        self.register_buffer("across", across / SPAN, persistent=False)

    def forward(self, frames_BTCHW: Tensor) -> Sightings:
        """Look at frames uint8 ``(batch, time, 3, frame_size, frame_size)``."""
        batch, n_frames = frames_BTCHW.shape[:2]
        space, maps = self._in_space(frames_BTCHW)
        chance = maps.flatten(2).log_softmax(-1).view_as(maps)
        columns = chance.logsumexp(-2)
        x = columns.exp() @ self.across
        y = chance.logsumexp(-1).exp() @ self.across
        tracks = torch.cat([x, y, maps.flatten(2).amax(-1) / 4], 1)
        pooled = torch.cat([space.amax(-1).flatten(1), space.amax(-2).flatten(1), tracks], 1)
        hidden = self.to_time(pooled).unflatten(0, (batch, n_frames))
        for norm, convolve in zip(self.norms, self.in_time, strict=True):
            hidden = hidden + convolve(F.silu(norm(hidden)).transpose(1, 2)).transpose(1, 2)
        # grain and light are means over the frame and their change from frame to frame
        look = space.mean((-1, -2)).unflatten(0, (batch, n_frames))
        summary = torch.cat([hidden.mean(1), hidden.amax(1), look.mean(1), look.std(1, correction=0)], 1)
        present, lasting, size, quality, room = self.answers(self.whole(summary)).split(self.split, 1)
        x = x.unflatten(0, (batch, n_frames))
        return Sightings(
            onsets=self.onsets(hidden).unflatten(-1, (self.sub_steps, self.n_classes)).flatten(1, 2),
            sounding=self.sounding(hidden),
            azimuth=x + self.azimuth(hidden),
            columns=columns.unflatten(0, (batch, n_frames)),
            present=present,
            lasting=lasting,
            size=size.unflatten(1, (self.n_classes, 3)),
            quality=quality,
            room=room,
        )

    def _in_space(self, frames: Tensor) -> tuple[Tensor, Tensor]:
        """Features ``(batch * time, width, cells, cells)`` and class maps ``(batch * time, classes, cells, cells)``."""
        frames = frames.float() / 127.5 - 1
        change = torch.zeros_like(frames)
        change[:, 1:] = frames[:, 1:] - frames[:, :-1]
        both = torch.cat([frames, 2 * change], 2).flatten(0, 1)
        space = F.silu(self.embed(both) + self.place)
        space = space + F.silu(self.near(space))
        space = space + F.silu(self.far(space))
        return space, self.maps(space)
