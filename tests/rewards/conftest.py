"""Clips of noise bursts with their plans."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor

from prismaudio.plan import Plan
from prismaudio.plan.story import Source, Story
from prismaudio.plan.writing import describe
from prismaudio.rewards import Cache, Reward, prepare
from prismaudio.types import Clip

RATE_HZ = 16_000


@dataclass(frozen=True)
class Clips:
    """Plans and their sounds ``(n, 2, samples)``."""

    plans: list[Plan]
    audio: Tensor

    def caches(self, reward: Reward) -> list[Cache]:
        """What a reward knows of each of them."""
        clips = [Clip(f"clip {i}", 4.0, audio=audio, sample_rate_hz=RATE_HZ) for i, audio in enumerate(self.audio)]
        return [prepare(reward, clip, plan) for clip, plan in zip(clips, self.plans, strict=True)]

    def score(self, reward: Reward, audio: Tensor | None = None) -> Tensor:
        """Scores of these sounds, or of others in their place."""
        return reward.score(self.audio if audio is None else audio, RATE_HZ, self.caches(reward))


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
def clips(sound_of: Callable[..., Tensor]) -> Clips:
    stories = [story(seed) for seed in range(16)]
    audio = torch.stack([sound_of(told, seed=seed) for seed, told in enumerate(stories)])
    return Clips([Plan(describe(told)) for told in stories], audio)
