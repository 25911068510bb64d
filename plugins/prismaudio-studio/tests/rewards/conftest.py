"""Held-out studio clips with their plans, and what damages one dimension of them."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
import torch
from torch import Tensor

from prismaudio.plan import Plan
from prismaudio.rewards import Cache, Reward, prepare
from prismaudio.types import Clip
from prismaudio_studio.narration import narrate
from prismaudio_studio.world import Scene, render_audio, sample_scene

RATE_HZ = 16_000


@dataclass(frozen=True)
class Clips:
    """Scenes, their plans, and their sounds ``(n, 2, samples)``."""

    scenes: list[Scene]
    plans: list[Plan]
    audio: Tensor

    def caches(self, reward: Reward) -> list[Cache]:
        """What a reward knows of each of them."""
        clips = [Clip(s.id, 4.0, audio=a, sample_rate_hz=RATE_HZ) for s, a in zip(self.scenes, self.audio, strict=True)]
        return [prepare(reward, clip, plan) for clip, plan in zip(clips, self.plans, strict=True)]

    def score(self, reward: Reward, audio: Tensor | None = None) -> Tensor:
        """Scores of these sounds, or of others in their place."""
        return reward.score(self.audio if audio is None else audio, RATE_HZ, self.caches(reward))


@pytest.fixture(scope="session")
def clips() -> Clips:
    scenes = [sample_scene(index, 5, held_out=True) for index in range(16)]
    audio = torch.stack([torch.as_tensor(render_audio(scene)).float() for scene in scenes])
    return Clips(scenes, [narrate(scene.story) for scene in scenes], audio)


def later(audio: Tensor, seconds: float) -> Tensor:
    """The same sound, later."""
    n = round(seconds * RATE_HZ)
    return torch.nn.functional.pad(audio, (n, 0))[..., : audio.shape[-1]]
