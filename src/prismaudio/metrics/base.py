"""The contract of a metric of sound."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torchmetrics import Metric

if TYPE_CHECKING:
    from collections.abc import Sequence

    from prismaudio.metrics.truth import Truth


class SoundMetric(Metric, ABC):
    """Compares sounds with what should be heard, clip by clip; its states are sums, so processes add up.

    A clip that a metric cannot judge does not count. With nothing counted the result is NaN.
    """

    full_state_update = False
    higher_is_better = True

    def update(self, audio: Tensor, sample_rate_hz: int, truths: Sequence[Truth]) -> None:
        """Observe the clips of a batch.

        Args:
            audio: Sound ``(batch, 2, samples)``.
            sample_rate_hz: Its sample rate.
            truths: What should be heard, one a clip.
        """
        for sound, truth in zip(audio.detach().float().cpu(), truths, strict=True):
            self.observe(sound, sample_rate_hz, truth)

    @abstractmethod
    def observe(self, sound: Tensor, sample_rate_hz: int, truth: Truth) -> None:
        """Take one sound ``(2, samples)`` into account."""


class Share(SoundMetric):
    """Share of the clips that count in which something is so."""

    right: Tensor
    total: Tensor

    def __init__(self) -> None:
        super().__init__()
        for name in ("right", "total"):
            self.add_state(name, torch.tensor(0.0, dtype=torch.float64), dist_reduce_fx="sum")

    def observe(self, sound: Tensor, sample_rate_hz: int, truth: Truth) -> None:
        """Judge one sound ``(2, samples)``, if it counts."""
        verdict = self.judge(sound, sample_rate_hz, truth)
        if verdict is not None:
            self.right = self.right + float(verdict)
            self.total = self.total + 1

    @abstractmethod
    def judge(self, sound: Tensor, sample_rate_hz: int, truth: Truth) -> bool | None:
        """Whether it is so in a sound ``(2, samples)``; None for one that does not count."""

    def compute(self) -> Tensor:
        """Share in 0 .. 1."""
        return self.right / self.total
