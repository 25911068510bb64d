"""The reward: nobody is heard to speak where nobody should."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from prismaudio.errors import NotApplicableError, PrismAudioError
from prismaudio.rewards.base import Cache, Reward
from prismaudio_speechfree.network import FRAME_S, SpeechDetector, load_detector
from prismaudio_speechfree.plan import ALWAYS, spoken_s

if TYPE_CHECKING:
    from prismaudio.plan import Plan
    from prismaudio.types import Clip, Need

MARGIN_S = 0.25
"""How much longer than planned somebody may be heard, on either side."""


class SpeechFreeReward(Reward):
    """One minus the probability of speech where it is highest, where the plan has nobody speaking.

    The probability is that of Silero's detector, averaged over a second; so a short phrase counts as much as a long
    one. Where the plan has somebody speaking, "from 1.0 s to 2.5 s", it does not count; a clip in which somebody may
    speak all the time is not judged.

    Args:
        weights: ``silero_vad_16k_op15.onnx``, or this network as ``.safetensors``; None to take that of the package
            ``silero-vad``.
        window_s: Over how many seconds the probability is averaged.
        network: A network in place of published weights.
    """

    dimension, range = "speechfree", (0.0, 1.0)

    def __init__(
        self, weights: str | None = None, window_s: float = 1.0, network: SpeechDetector | None = None
    ) -> None:
        if window_s <= 0:
            raise PrismAudioError(f"window_s is {window_s}; give it more than 0 seconds")
        self.network, self.window_s = network or load_detector(weights), window_s

    @property
    def reads(self) -> frozenset[Need]:
        """The plan, if there is one."""
        return frozenset({"plan"})

    @property
    def identity(self) -> str:
        """What is prepared depends on the plan only."""
        return type(self).__qualname__

    @property
    def networks(self) -> Sequence[nn.Module]:
        """The network that it scores with."""
        return (self.network,)

    def prepare(self, clip: Clip, plan: Plan) -> Cache:
        """When somebody may speak, ``(spans, 2)`` in seconds."""
        spans = spoken_s(plan)
        if ALWAYS in spans:
            raise NotApplicableError("the plan has somebody speaking, and does not say from when to when")
        return {"spoken_s": torch.tensor(spans).reshape(-1, 2)}

    def score(self, audio: Tensor, sample_rate_hz: int, caches: Sequence[Cache]) -> Tensor:
        """Scores ``(batch,)`` in 0 .. 1."""
        heard = self.network.speech_probability(audio, sample_rate_hz)
        spans = pad_sequence([cache["spoken_s"] for cache in caches], batch_first=True, padding_value=math.nan)
        times_s = FRAME_S * (torch.arange(heard.shape[1]) + 0.5)
        planned = (times_s > spans[..., :1] - MARGIN_S) & (times_s < spans[..., 1:] + MARGIN_S)  # nan is neither
        heard = heard.masked_fill(planned.any(1).to(heard.device, non_blocking=True), 0.0)
        n = min(heard.shape[1], max(1, round(self.window_s / FRAME_S)))
        return 1 - heard.unfold(1, n, 1).mean(2).amax(1)
