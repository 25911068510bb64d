"""The four axes of Audiobox Aesthetics as metrics."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor, nn

from prismaudio.metrics.base import AudioMetric
from prismaudio_audiobox.network import AXES, AudioboxNetwork
from prismaudio_audiobox.rating import Implementation, make_rater, shared_rater

if TYPE_CHECKING:
    from collections.abc import Sequence

    from prismaudio.metrics.target import Target


class AudioboxAesthetics(AudioMetric):
    """Mean rating of the clips on one axis, about 1 .. 10.

    Args:
        axis: ``"CE"``, content enjoyment; ``"CU"``, content usefulness; ``"PC"``, production complexity, where higher
            is not better; ``"PQ"``, production quality.
        weights: ``checkpoint.pt``, ``model.safetensors``, a folder with the latter or a repository of the hub; None for
            the default locations, then ``facebook/audiobox-aesthetics``.
        precision: ``"fp32"``, or ``"bf16"`` at half the cost.
        network: A network to use instead of the published one; for the native implementation.
        implementation: ``"native"`` or ``"official"``; see :class:`~prismaudio_audiobox.reward.AudioboxReward`.
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
        implementation: Implementation = "native",
    ) -> None:
        super().__init__()
        self.axis = AXES.index(axis)
        if network is None:
            self.rater = shared_rater(implementation, weights, precision)
        else:
            self.rater = make_rater(implementation, weights, network, precision)
        for name in ("ratings", "total"):
            self.add_state(name, torch.tensor(0.0, dtype=torch.float64), dist_reduce_fx="sum")

    @property
    def higher_is_better(self) -> bool:  # type: ignore[override]
        """Whether higher ratings are better; False for production complexity."""
        return AXES[self.axis] != "PC"

    @property
    def networks(self) -> Sequence[nn.Module]:
        """The rating network."""
        return (self.rater.network,)

    def observe(self, audio: Tensor, sample_rate_hz: int, target: Target) -> None:
        """Add the rating of audio ``(2, samples)``."""
        rated = self.rater.rate_once(audio[None].to(self.device), sample_rate_hz)
        self.ratings = self.ratings + rated[0, self.axis]
        self.total = self.total + 1

    def compute(self) -> Tensor:
        """The mean over the clips."""
        return self.ratings / self.total


class AudioboxEnjoyment(AudioboxAesthetics):
    """Mean content enjoyment (CE) of the clips, about 1 .. 10; several axes share the network and its ratings.

    Args:
        weights: See :class:`AudioboxAesthetics`.
        precision: See there.
        network: See there.
        implementation: See there.
    """

    def __init__(
        self,
        weights: str | None = None,
        precision: Literal["fp32", "bf16"] = "fp32",
        network: AudioboxNetwork | None = None,
        implementation: Implementation = "native",
    ) -> None:
        super().__init__("CE", weights, precision, network, implementation)


class AudioboxUsefulness(AudioboxAesthetics):
    """Mean content usefulness (CU) of the clips, about 1 .. 10; several axes share the network and its ratings.

    Args:
        weights: See :class:`AudioboxAesthetics`.
        precision: See there.
        network: See there.
        implementation: See there.
    """

    def __init__(
        self,
        weights: str | None = None,
        precision: Literal["fp32", "bf16"] = "fp32",
        network: AudioboxNetwork | None = None,
        implementation: Implementation = "native",
    ) -> None:
        super().__init__("CU", weights, precision, network, implementation)


class AudioboxComplexity(AudioboxAesthetics):
    """Mean production complexity (PC), about 1 .. 10: how many sources sound at once; lower counts as better.

    Args:
        weights: See :class:`AudioboxAesthetics`.
        precision: See there.
        network: See there.
        implementation: See there.
    """

    def __init__(
        self,
        weights: str | None = None,
        precision: Literal["fp32", "bf16"] = "fp32",
        network: AudioboxNetwork | None = None,
        implementation: Implementation = "native",
    ) -> None:
        super().__init__("PC", weights, precision, network, implementation)
