"""Sounds whose story is known because they are made from it."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from torch import Tensor

from prismaudio.metrics.truth import Truth
from prismaudio.plan.story import Source, Story

RATE_HZ = 16_000


@pytest.fixture
def make(sound_of: Callable[..., Tensor]) -> Callable[..., tuple[Tensor, Truth]]:
    """Makes (sound, truth) of a story."""

    def made(story: Story, **options: float) -> tuple[Tensor, Truth]:
        sound = sound_of(story, **options)
        return sound, Truth.from_story(story, sound, RATE_HZ)

    return made


@pytest.fixture
def stories() -> list[Story]:
    """Six stories of one source in different directions, one of two sources."""
    single = [
        Story((Source("bell", (0.5 + 0.1 * i, 2.0), azimuth_deg=(a, a)),))
        for i, a in enumerate((-60, -30, 0, 15, 40, 60))
    ]
    return [
        *single,
        Story((Source("bell", (0.4, 2.5), azimuth_deg=(-50, -20)), Source("drum", (1.2,), azimuth_deg=(30, 30)))),
    ]
