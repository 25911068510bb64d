"""The reward and the metric that follow the integrated loudness."""

import re

import torch

from prismaudio.audio.loudness import loudness_lufs
from prismaudio.metrics.base import AudioMetric
from prismaudio.rewards.base import Reward


class LoudnessReward(Reward):
    """Minus the distance in LU to the loudness that the plan states.

    Args:
        target_lufs: Loudness to reach where the plan states none.
    """

    dimension = "loudness"
    reads = frozenset({"plan"})
    range = (-100.0, 0.0)

    def __init__(self, target_lufs: float = -23.0) -> None:
        self.target_lufs = target_lufs

    def prepare(self, clip, plan):
        stated = re.search(r"(-?\d+(?:\.\d+)?) LUFS", plan.get("loudness", ""))
        return {"lufs": torch.tensor(float(stated[1]) if stated else self.target_lufs)}

    def score(self, audio, sample_rate_hz, caches):
        wanted = torch.stack([cache["lufs"] for cache in caches]).to(audio.device)
        return -(loudness_lufs(audio, sample_rate_hz) - wanted).abs()


class LoudnessMetric(AudioMetric):
    """Mean distance in LU to a loudness.

    Args:
        target_lufs: Loudness to reach.
    """

    higher_is_better = False

    def __init__(self, target_lufs: float = -23.0) -> None:
        super().__init__()
        self.target_lufs = target_lufs
        self.add_state("sums", torch.zeros(2), dist_reduce_fx="sum")  # distances, and how many

    def observe(self, sound, sample_rate_hz, truth):
        distance = (loudness_lufs(sound[None], sample_rate_hz) - self.target_lufs).abs()
        self.sums = self.sums + torch.cat([distance, torch.ones(1)])

    def compute(self):
        return self.sums[0] / self.sums[1]
