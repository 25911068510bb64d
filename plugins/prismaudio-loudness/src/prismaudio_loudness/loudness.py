"""Integrated loudness, and the reward and the metric that follow it."""

import re

import torch

from prismaudio.metrics.base import SoundMetric
from prismaudio.rewards.base import Reward

SHELF = (1.53512485958697, -2.69169618940638, 1.19839281085285), (1.0, -1.69065929318241, 0.73248077421585)
HIGH_PASS = (1.0, -2.0, 1.0), (1.0, -1.99004745483398, 0.99007225036621)


def loudness_lufs(audio: torch.Tensor, sample_rate_hz: int) -> torch.Tensor:
    """Gated loudness ``(batch,)`` of sound ``(batch, 2, samples)``, as in ITU-R BS.1770-4; -70 for silence."""
    length = min(round(0.4 * sample_rate_hz), audio.shape[-1])
    spectra = torch.fft.rfft(audio.double().unfold(-1, length, max(1, length // 4)))
    turn = 2 * torch.pi * torch.fft.rfftfreq(length, 1 / sample_rate_hz, device=audio.device).double() / 48_000
    for above, below in (SHELF, HIGH_PASS):
        response = [sum(c * torch.exp(-1j * n * turn) for n, c in enumerate(side)) for side in (above, below)]
        spectra = spectra * response[0] / response[1]
    power = 2 / length**2 * spectra.abs().square().sum((1, 3))
    heard = power > 10 ** ((-70 + 0.691) / 10)
    heard &= power > 0.1 * (power * heard).sum(-1, keepdim=True) / heard.sum(-1, keepdim=True).clamp(min=1)
    mean = (power * heard).sum(-1) / heard.sum(-1).clamp(min=1)
    return (10 * mean.clamp(min=1e-9).log10() - 0.691).clamp(min=-70).float()


class LoudnessReward(Reward):
    """Minus the distance in LU to the loudness that the plan states.

    Args:
        target_lufs: Loudness to reach where the plan states none.
    """

    def __init__(self, target_lufs: float = -23.0) -> None:
        self.target_lufs = target_lufs

    def prepare(self, clip, plan):
        stated = re.search(r"(-?\d+(?:\.\d+)?) LUFS", plan.get("loudness", ""))
        return float(stated[1]) if stated else self.target_lufs

    def score(self, audio, sample_rate_hz, caches):
        return -(loudness_lufs(audio, sample_rate_hz) - torch.tensor(caches, device=audio.device)).abs()


class LoudnessMetric(SoundMetric):
    """Mean distance in LU to a loudness.

    Args:
        target_lufs: Loudness to reach.
    """

    higher_is_better = False

    def __init__(self, target_lufs: float = -23.0) -> None:
        super().__init__()
        self.target_lufs = target_lufs
        self.add_state("distances", [], dist_reduce_fx="cat")

    def observe(self, sound, sample_rate_hz, truth):
        self.distances.append((loudness_lufs(sound[None], sample_rate_hz) - self.target_lufs).abs())

    def compute(self):
        return torch.cat(list(self.distances)).mean()
