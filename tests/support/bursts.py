"""Sounds whose story is known because they are made from it."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch

from prismaudio.metrics.target import Target, story_events

if TYPE_CHECKING:
    from torch import Tensor

    from prismaudio.plan.story import Story

RATE_HZ = 16_000


def sound_of(story: Story, floor_db: float = -80.0, tail_db: float | None = None, seed: int = 0) -> Tensor:
    """A noise burst for every event of a story, delayed and weighted by its direction, ``(2, 4 s)`` at 16 kHz."""
    generator = torch.Generator().manual_seed(seed)
    n = 4 * RATE_HZ
    sound = 10 ** (floor_db / 20) * torch.randn(2, n, generator=generator)
    for event in story_events(story):
        side = math.sin(math.radians(event.azimuth_deg or 0.0))
        start, late = round(event.time_s * RATE_HZ), round(10 * side)
        since = torch.arange(n) - start
        burst = 0.3 * torch.randn(n, generator=generator) * torch.exp(-since.clamp(min=0) / (0.02 * RATE_HZ))
        if tail_db is not None:
            burst += 10 ** (tail_db / 20) * torch.randn(n, generator=generator)
        burst *= since >= 0
        sound += torch.stack(
            [burst.roll(max(0, late)) * 10 ** (-side / 4), burst.roll(max(0, -late)) * 10 ** (side / 4)]
        )
    return sound


def sound_and_truth(story: Story, **options: float) -> tuple[Tensor, Target]:
    """The sound of a story, with options of :func:`sound_of`, and what is true of it."""
    sound = sound_of(story, **options)
    return sound, Target.from_story(story, sound, RATE_HZ)
