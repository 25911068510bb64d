"""The aesthetic reward of the paper."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from prismaudio.rewards.base import Cache, Reward
from prismaudio_audiobox.network import AudioboxNetwork
from prismaudio_audiobox.rating import Implementation, make_rater


class AudioboxReward(Reward):
    """Audio quality: a weighted sum of four ratings, each about 1 .. 10.

    By default ``(CE + CU - PC + PQ) / 40``, about 0.1 .. 0.6. The ratings are means over chunks of 10 s that cover the
    audio, weighted by their length.

    Args:
        weights: ``checkpoint.pt``, ``model.safetensors``, a folder with the latter or a repository of the hub; None for
            the default locations, then ``facebook/audiobox-aesthetics``.
        ce: Weight of content enjoyment; 0.05, and the others 0, is another published reward.
        cu: Weight of content usefulness.
        pc: Weight of production complexity, the number of simultaneous sources; 0.05, and the others 0, is
            another published reward.
        pq: Weight of production quality.
        precision: ``"fp32"``, or ``"bf16"`` at half the cost.
        network: A network to use instead of the published one; for the native implementation.
        implementation: ``"native"``, which needs no other package, or ``"official"``, the package
            ``audiobox-aesthetics`` of the authors, installed by ``prismaudio-audiobox[official]``; the ratings are the
            same within 2e-5.

    Source:
        ``meta_reward`` of PrismAudio, with the ratings of "Meta Audiobox Aesthetics" (arXiv 2502.05139). It resamples
        the mean of the channels; here as in the package of the authors the order makes no difference.
    """

    dimension = "aesthetic"

    def __init__(
        self,
        weights: str | None = None,
        ce: float = 0.025,
        cu: float = 0.025,
        pc: float = -0.025,
        pq: float = 0.025,
        precision: Literal["fp32", "bf16"] = "fp32",
        network: AudioboxNetwork | None = None,
        implementation: Implementation = "native",
    ) -> None:
        self.axis_weights = torch.tensor([ce, cu, pc, pq], dtype=torch.float32)
        self.rater = make_rater(implementation, weights, network, precision)

    @property
    def networks(self) -> Sequence[nn.Module]:
        """The rating network."""
        return (self.rater.network,)

    def score(self, audio: Tensor, sample_rate_hz: int, caches: Sequence[Cache]) -> Tensor:
        """Scores ``(batch,)``."""
        return self.rater.rate(audio, sample_rate_hz) @ self.axis_weights.to(audio.device)
