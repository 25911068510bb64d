"""The share of clips without unplanned speech."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prismaudio.metrics.base import Share
from prismaudio.plan import Plan
from prismaudio.types import Clip
from prismaudio_speechfree.network import SpeechDetector
from prismaudio_speechfree.reward import SpeechFreeReward

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor, nn

    from prismaudio.metrics.target import Target


class SpeechFreeShare(Share):
    """Share of the clips without speech outside the spans that the plan states.

    Args:
        weights: ``silero_vad_16k_op15.onnx``, or this network as ``.safetensors``; None to take that of the package
            ``silero-vad``.
        threshold: Probability of speech, averaged over a second, above which a clip contains speech.
        network: A network to use instead of published weights.
    """

    dimension = "speechfree"

    def __init__(
        self, weights: str | None = None, threshold: float = 0.5, network: SpeechDetector | None = None
    ) -> None:
        super().__init__()
        self.reward, self.threshold = SpeechFreeReward(weights, network=network), threshold

    @property
    def networks(self) -> Sequence[nn.Module]:
        """The speech detector."""
        return (self.reward.network,)

    def is_correct(self, audio: Tensor, sample_rate_hz: int, target: Target) -> bool:
        """Whether audio ``(2, samples)`` is free of unplanned speech."""
        cache = self.reward.prepare(target.clip or Clip("", 0.0), target.plan or Plan({}))
        return bool(self.reward.score(audio[None], sample_rate_hz, [cache]) > 1 - self.threshold)
