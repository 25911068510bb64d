"""A reward for audio without unplanned speech."""

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
"""Seconds by which speech may exceed a planned span on either side."""


class SpeechFreeReward(Reward):
    """One minus the maximum probability of speech outside the spans that the plan states.

    The probability is that of Silero's detector, averaged over a second, so that a short phrase counts as much as a
    long one. Planned spans ("from 1.0 s to 2.5 s") are ignored; a clip whose plan states speech without times is not
    scored.

    Args:
        weights: ``silero_vad_16k_op15.onnx``, or this network as ``.safetensors``; None to take that of the package
            ``silero-vad``.
        window_s: Seconds over which the probability is averaged.
        network: A network to use instead of published weights.
    """

    dimension, range = "speechfree", (0.0, 1.0)

    def __init__(
        self, weights: str | None = None, window_s: float = 1.0, network: SpeechDetector | None = None
    ) -> None:
        if window_s <= 0:
            raise PrismAudioError(f"window_s is {window_s}; expected more than 0 seconds")
        self.network, self.window_s = network or load_detector(weights), window_s

    @property
    def reads(self) -> frozenset[Need]:
        """The plan, if present."""
        return frozenset({"plan"})

    @property
    def identity(self) -> str:
        """The class name, since the cache depends on the plan only."""
        return type(self).__qualname__

    @property
    def networks(self) -> Sequence[nn.Module]:
        """The speech detector."""
        return (self.network,)

    def prepare(self, clip: Clip, plan: Plan) -> Cache:
        """Spans of planned speech, ``(spans, 2)`` in seconds."""
        spans = spoken_s(plan)
        if ALWAYS in spans:
            raise NotApplicableError("the plan states speech without start and end times")
        return {"spoken_s": torch.tensor(spans).reshape(-1, 2)}

    def score(self, audio: Tensor, sample_rate_hz: int, caches: Sequence[Cache]) -> Tensor:
        """Scores ``(batch,)`` in 0 .. 1."""
        speech = self.network.speech_probability(audio, sample_rate_hz)
        spans = pad_sequence([cache["spoken_s"] for cache in caches], batch_first=True, padding_value=math.nan)
        times_s = FRAME_S * (torch.arange(speech.shape[1]) + 0.5)
        planned = (times_s > spans[..., :1] - MARGIN_S) & (times_s < spans[..., 1:] + MARGIN_S)  # nan is neither
        speech = speech.masked_fill(planned.any(1).to(speech.device, non_blocking=True), 0.0)
        n = min(speech.shape[1], max(1, round(self.window_s / FRAME_S)))
        return 1 - speech.unfold(1, n, 1).mean(2).amax(1)
