"""The metric: in how many clips nobody is heard to speak unplanned."""

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
    """Share of the clips in which nobody is heard to speak where the plan has nobody speaking.

    Args:
        weights: ``silero_vad_16k_op15.onnx``, or this network as ``.safetensors``; None to take that of the package
            ``silero-vad``.
        threshold: Probability of speech, averaged over a second, from which on somebody is heard.
        network: A network in place of published weights.
    """

    dimension = "speechfree"

    def __init__(
        self, weights: str | None = None, threshold: float = 0.5, network: SpeechDetector | None = None
    ) -> None:
        super().__init__()
        self.reward, self.threshold = SpeechFreeReward(weights, network=network), threshold

    @property
    def networks(self) -> Sequence[nn.Module]:
        """The network that it measures with."""
        return (self.reward.network,)

    def judge(self, sound: Tensor, sample_rate_hz: int, truth: Target) -> bool:
        """Whether nobody is heard in audio ``(2, samples)``."""
        cache = self.reward.prepare(truth.clip or Clip("", 0.0), truth.plan or Plan({}))
        return bool(self.reward.score(sound[None], sample_rate_hz, [cache]) > 1 - self.threshold)
