"""The four axes of Audiobox Aesthetics as metrics."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor, nn

from prismaudio.metrics.base import AudioMetric
from prismaudio_audiobox.network import AXES, AudioboxNetwork
from prismaudio_audiobox.rating import Rater

if TYPE_CHECKING:
    from collections.abc import Sequence

    from prismaudio.metrics.target import Target


class AudioboxAesthetics(AudioMetric):
    """Mean rating of the clips on one axis, about 1 .. 10.

    Args:
        axis: ``"CE"``, content enjoyment; ``"CU"``, content usefulness; ``"PC"``, production complexity, for which more
            is not better; ``"PQ"``, production quality.
        weights: ``checkpoint.pt``, ``model.safetensors``, a folder with the latter or a repository of the hub; None to
            look where they are kept, and then in ``facebook/audiobox-aesthetics``.
        precision: ``"fp32"``, or ``"bf16"`` for a network of half the cost.
        network: A network in place of the published one.
    """

    dimension = "aesthetic"
    ratings: Tensor
    total: Tensor

    def __init__(
        self,
        axis: Literal["CE", "CU", "PC", "PQ"] = "PQ",
        weights: str | None = None,
        precision: Literal["fp32", "bf16"] = "fp32",
        network: AudioboxNetwork | None = None,
    ) -> None:
        super().__init__()
        self.axis, self.rater = AXES.index(axis), Rater(weights, network, precision)
        for name in ("ratings", "total"):
            self.add_state(name, torch.tensor(0.0, dtype=torch.float64), dist_reduce_fx="sum")

    @property
    def higher_is_better(self) -> bool:  # type: ignore[override]
        """Whether a higher rating is a better sound: not of complexity."""
        return AXES[self.axis] != "PC"

    @property
    def networks(self) -> Sequence[nn.Module]:
        """The network that it measures with."""
        return (self.rater.network,)

    def observe(self, sound: Tensor, sample_rate_hz: int, truth: Target) -> None:
        """Rate one audio ``(2, samples)``."""
        rated = self.rater.rate(sound[None].to(self.device), sample_rate_hz)
        self.ratings = self.ratings + rated[0, self.axis]
        self.total = self.total + 1

    def compute(self) -> Tensor:
        """The mean over the clips."""
        return self.ratings / self.total
