"""The events of a plan on a time grid."""

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
from prismaudio_studio.words import NOUNS

if TYPE_CHECKING:
    from prismaudio.plan import Plan
    from prismaudio.plan.story import Source
    from prismaudio.types import Clip

QUALITIES, ROOMS = tuple(words.QUALITIES), tuple(words.ROOMS)
"""The last rows, in this order; weights depend on it."""
SIZES = {"small": -1.0, "medium": 0.0, "large": 1.0}
ROWS = 5
ONSET_WIDTH_S = 0.012
DECAY_S = 0.5
ONSETS_AT_ONCE = 256  # a plan of many thousands takes no more memory than one of these


class PlanGridEncoder(Configured, Encoder):
    """What happens when and where, read from the text of a plan and drawn on a grid.

    Each class has five rows: onsets as narrow bumps at their exact time, whether it is sounding, its direction
    (azimuth / 60 degrees while sounding), its size and whether a direction is stated. Sources of no known class share
    five more, and the last five of this kind are those of everything that sounds, so that what holds for all classes
    need not be learned for each. Quality and room, which hold all the time, are the last rows.

    Args:
        classes: Nouns that have rows of their own.
        rate_hz: Grid steps per second, best that of the latents.
    """

    rate_hz: float

    def __init__(self, classes: Sequence[str], rate_hz: float = 62.5) -> None:
        within(0.1, 1000, rate_hz=rate_hz)
        within(0, 4096, classes=len(classes))
        self.classes = self.vocabulary = list(classes)
        self.rate_hz = rate_hz
        self.dim = ROWS * (len(self.classes) + 2) + len(QUALITIES) + len(ROOMS)

    def encode(self, clip: Clip, plan: Plan) -> Tensor:
        """Grid ``(time, dim)`` over the duration of the clip."""
        n_steps = round(clip.duration_s * self.rate_hz)
        grid = torch.zeros(n_steps, len(self.classes) + 1, ROWS)
        times = (torch.arange(n_steps) + 0.5) / self.rate_hz
        story = plan.read(NOUNS.only(self.classes))
        for source in story.sources:
            row = self._row(source.what)
            drawn = draw_source(source, times)
            grid[:, row] = torch.where(drawn.abs() > grid[:, row].abs(), drawn, grid[:, row])
        everything = torch.cat([grid, together(grid)], 1)
        surroundings = torch.tensor([float(name in (story.quality, story.room)) for name in (*QUALITIES, *ROOMS)])
        return torch.cat([everything.flatten(1), surroundings.expand(n_steps, -1)], 1)

    def unknown(self, text: str) -> list[str]:
        """The clauses that name none of its classes."""
        return unknown_clauses(text, NOUNS.only(self.classes))

    def _row(self, what: str) -> int:
        words = what.lower().split()
        for index, name in enumerate(self.classes):
            if any(word in (name, f"{name}s", f"{name}es") for word in words):
                return index
        return len(self.classes)


def together(grid: Tensor) -> Tensor:
    """Rows ``(time, 1, 5)`` of everything in a grid ``(time, classes, 5)``; what is newest and loudest says where."""
    presence = grid[..., 1] + 4 * grid[..., 0]
    share = (presence / presence.sum(1, keepdim=True).clamp_min(1e-6))[..., None]
    means = (grid * share).sum(1, keepdim=True)
    return torch.cat([grid[..., :2].amax(1, keepdim=True), means[..., 2:]], -1)


def draw_source(source: Source, times: Tensor) -> Tensor:
    """Rows ``(time, 5)`` of one source: onset, sounding, direction, size, direction stated."""
    if not source.onsets_s:
        return torch.zeros(len(times), ROWS)
    onset = sounding = torch.zeros_like(times)
    for onsets_s in torch.tensor(source.onsets_s).split(ONSETS_AT_ONCE):
        since = times[:, None] - onsets_s
        onset = torch.maximum(onset, torch.exp(-0.5 * (since / ONSET_WIDTH_S).square()).amax(1))
        sounding = torch.maximum(
            sounding, torch.where(since >= 0, torch.exp(-since / DECAY_S), torch.zeros(())).amax(1)
        )
    if source.end_s is not None:
        sounding = ((times >= source.onsets_s[0]) & (times < source.end_s)).float()
    direction = torch.zeros_like(times)
    if source.azimuth_deg is not None:
        direction = azimuths_deg(source, times) / SIDE_DEG
    present = torch.maximum(sounding, onset)
    stated = torch.full_like(times, 1.0 if source.azimuth_deg is not None else 0.0)
    size = torch.full_like(times, SIZES.get(source.size or "", 0.0))
    here = (present > 0.01).float()
    return torch.stack([onset, sounding, direction * here, size * here, stated * here], 1)
