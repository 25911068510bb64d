"""Clips of noise bursts with their plans."""

from __future__ import annotations

import random

import pytest
import torch
from bursts import sound_of
from reward_checks import Clips

from prismaudio.plan import Plan
from prismaudio.plan.story import Source, Story
from prismaudio.plan.writing import describe


def story(seed: int) -> Story:
    """One or two things at random times in random directions."""
    rng = random.Random(seed)
    moments = [0.3 + 0.7 * i for i in rng.sample(range(5), 4)]
    sources = []
    for what, times in (("dog", moments[:2]), ("gate", moments[2:]))[: 1 + seed % 2]:
        azimuth_deg = float(rng.choice([-55, -40, -25, 25, 40, 55]))
        sources.append(Source(what, tuple(sorted(times)), None, (azimuth_deg, azimuth_deg)))
    return Story(tuple(sources), "clean", "dry")


@pytest.fixture(scope="session")
def clips() -> Clips:
    stories = [story(seed) for seed in range(16)]
    audio = torch.stack([sound_of(told, seed=seed) for seed, told in enumerate(stories)])
    return Clips([Plan(describe(told)) for told in stories], audio)
