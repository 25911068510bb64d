"""Encode the events of a plan on a time grid."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from prismaudio.audio.interaural import azimuths_deg
from prismaudio.checkpoints import Configured, within
from prismaudio.encoders.base import Encoder
from prismaudio.plan import words
from prismaudio.plan.story import SIDE_DEG
from prismaudio_studio.understanding import unknown_clauses
from prismaudio_studio.words import Vocabulary, class_of

if TYPE_CHECKING:
    from prismaudio.plan import Plan
    from prismaudio.plan.story import Source
    from prismaudio.types import Clip

QUALITIES, ROOMS = tuple(words.QUALITIES), tuple(words.ROOMS)
"""The last rows, in this order, on which trained weights depend."""
SIZES = {"small": -1.0, "medium": 0.0, "large": 1.0}
ROWS = 5
ONSET_WIDTH_S = 0.012
DECAY_S = 0.5
ONSET_CHUNK_SIZE = 256  # bounds the memory of plans with many thousands of onsets


class PlanGridEncoder(Configured, Encoder):
    """Encode the events that a plan states as a time grid.

    Each class has five rows: onsets as narrow Gaussian bumps, activity, direction (azimuth / 60 degrees while
    active), size, and whether a direction is stated. Sources of unknown classes share five more rows, and five rows
    aggregate all sources, so that the model can share what it learns across classes. Quality and room, constant over
    time, are the last rows.

    Args:
        classes: Classes with their own rows, in the order of trained weights; other words for them count, too.
        rate_hz: Grid steps per second; the latent rate works best.
    """

    rate_hz: float

    def __init__(self, classes: Sequence[str], rate_hz: float = 62.5) -> None:
        within(0.1, 1000, rate_hz=rate_hz)
        within(0, 4096, classes=len(classes))
        self.classes = self.vocabulary = list(classes)
        self._words = Vocabulary(self.classes)
        self.rate_hz = rate_hz
        self.dim = ROWS * (len(self.classes) + 2) + len(QUALITIES) + len(ROOMS)

    def encode(self, clip: Clip, plan: Plan) -> Tensor:
        """Grid ``(time, dim)`` over the duration of the clip."""
        n_steps = round(clip.duration_s * self.rate_hz)
        grid = torch.zeros(n_steps, len(self.classes) + 1, ROWS)
        times = (torch.arange(n_steps) + 0.5) / self.rate_hz
        story = plan.read(self._words.nouns)
        for source in story.sources:
            row = self._row(source.what)
            drawn = draw_source(source, times)
            grid[:, row] = torch.where(drawn.abs() > grid[:, row].abs(), drawn, grid[:, row])
        everything = torch.cat([grid, aggregate(grid)], 1)
        surroundings = torch.tensor([float(name in (story.quality, story.room)) for name in (*QUALITIES, *ROOMS)])
        return torch.cat([everything.flatten(1), surroundings.expand(n_steps, -1)], 1)

    def unknown(self, text: str) -> list[str]:
        """The clauses that name none of the classes."""
        return unknown_clauses(text, self._words)

    def _row(self, what: str) -> int:
        name = class_of(what, self.classes)
        return len(self.classes) if name is None else self.classes.index(name)


def aggregate(grid: Tensor) -> Tensor:
    """Rows ``(time, 1, 5)`` over all classes of a grid ``(time, classes, 5)``; the newest source sets direction."""
    presence = grid[..., 1] + 4 * grid[..., 0]
    share = (presence / presence.sum(1, keepdim=True).clamp_min(1e-6))[..., None]
    means = (grid * share).sum(1, keepdim=True)
    return torch.cat([grid[..., :2].amax(1, keepdim=True), means[..., 2:]], -1)


def draw_source(source: Source, times: Tensor) -> Tensor:
    """Rows ``(time, 5)`` of one source: onset, activity, direction, size, whether a direction is stated."""
    if not source.onsets_s:
        return torch.zeros(len(times), ROWS)
    onset = active = torch.zeros_like(times)
    for onsets_s in torch.tensor(source.onsets_s).split(ONSET_CHUNK_SIZE):
        since = times[:, None] - onsets_s
        onset = torch.maximum(onset, torch.exp(-0.5 * (since / ONSET_WIDTH_S).square()).amax(1))
        active = torch.maximum(active, torch.where(since >= 0, torch.exp(-since / DECAY_S), torch.zeros(())).amax(1))
    if source.end_s is not None:
        active = ((times >= source.onsets_s[0]) & (times < source.end_s)).float()
    direction = torch.zeros_like(times)
    if source.azimuth_deg is not None:
        direction = azimuths_deg(source, times) / SIDE_DEG
    present = torch.maximum(active, onset)
    stated = torch.full_like(times, 1.0 if source.azimuth_deg is not None else 0.0)
    size = torch.full_like(times, SIZES.get(source.size or "", 0.0))
    here = (present > 0.01).float()
    return torch.stack([onset, active, direction * here, size * here, stated * here], 1)
