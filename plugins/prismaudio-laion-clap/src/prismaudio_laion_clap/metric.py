"""The CLAP score: similarity of audio and plan, of a whole clip or of each of its events."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

import torch
from torch import Tensor, nn

from prismaudio.audio.covering import cut
from prismaudio.errors import NotApplicableError
from prismaudio.metrics.networks import AudioCosine
from prismaudio.metrics.plans import sound_events
from prismaudio.rewards.base import plan_text
from prismaudio.rewards.tokens import Tokenize
from prismaudio.types import Need
from prismaudio_laion_clap.network import LaionClap
from prismaudio_laion_clap.reward import LaionClapReward

if TYPE_CHECKING:
    from collections.abc import Sequence

    from prismaudio.metrics.target import Target

SEGMENT_S, LEAD_S = 1.0, 0.1
"""Minimum duration of the segment of an event, and how much before its onset it begins."""
PROMPT = "This is a sound of {}."
"""Text of a source, as usual for classes of CLAP."""


class ClapScore(AudioCosine):
    """Mean cosine similarity of audio, with its mean removed, and plans by LAION-CLAP.

    Args:
        weights: See :class:`~prismaudio_laion_clap.reward.LaionClapReward`, which loads the network.
        tokenizer: The ``tokenizer.json`` of RoBERTa; see there.
        text: ``"section"`` to compare with the section of the semantic dimension, ``"plan"`` with the whole plan.
        network: A network to use instead of ``weights``; for the native implementation.
        implementation: ``"native"`` or ``"official"``; see there.

    Source:
        av-benchmark at 050a5cdb. It compares with the first 77 tokens of a caption.
    """

    dimension: ClassVar[str | None] = "semantic"
    needs: frozenset[Need] = frozenset({"plan"})

    def __init__(
        self,
        weights: str | None = None,
        tokenizer: str | Tokenize | None = None,
        text: Literal["section", "plan"] = "section",
        network: LaionClap | None = None,
        implementation: Literal["native", "official"] = "native",
    ) -> None:
        super().__init__()
        self.reward = LaionClapReward(weights, tokenizer, text, network, implementation)

    @property
    def networks(self) -> Sequence[nn.Module]:
        """The embedding network."""
        return (self.reward.space,)

    @torch.no_grad()
    def features(self, audio: Tensor, sample_rate_hz: int) -> Tensor:
        """Embedding ``(1, dim)`` of audio ``(2, samples)``."""
        self.reward.space.to(audio.device)
        return self.reward.embed_audio(audio[None] - audio.mean(), sample_rate_hz)

    @torch.no_grad()
    def target(self, target: Target) -> Tensor | None:
        """Embedding ``(1, dim)`` of the plan."""
        if target.plan is None:
            return None
        return self.reward.embed_text(plan_text(target.plan, self.dimension, self.reward.text))[None].cpu()


class SegmentClapScore(ClapScore):
    """Mean over clips of the cosine similarity of the segment of each planned event and the name of its source.

    A segment begins 0.1 s before the onset and lasts to the end of the event, but at least a second. What else sounds
    there counts, too. Unlike :class:`ClapScore`, it tells whether the right thing sounds at the right time.

    Args:
        weights: See :class:`~prismaudio_laion_clap.reward.LaionClapReward`, which loads the network.
        tokenizer: The ``tokenizer.json`` of RoBERTa; see there.
        network: A network to use instead of ``weights``; for the native implementation.
        implementation: ``"native"`` or ``"official"``; see there.
    """

    def __init__(
        self,
        weights: str | None = None,
        tokenizer: str | Tokenize | None = None,
        network: LaionClap | None = None,
        implementation: Literal["native", "official"] = "native",
    ) -> None:
        super().__init__(weights, tokenizer, "section", network, implementation)
        self._texts: dict[str, Tensor] = {}

    @torch.no_grad()
    def observe(self, audio: Tensor, sample_rate_hz: int, target: Target) -> None:
        """Add the mean over the events of audio ``(2, samples)``."""
        duration_s = audio.shape[-1] / sample_rate_hz
        events = [event for event in sound_events(target.story, duration_s) if event.start_s < duration_s]
        if not events:
            raise NotApplicableError("the plan states no times")
        cosines = []
        for event in events:
            begin_s = max(0.0, min(event.start_s - LEAD_S, duration_s - SEGMENT_S))
            segment = cut(audio, sample_rate_hz, begin_s, max(SEGMENT_S, event.end_s - begin_s))
            cosines.append(self.measure(self.features(segment, sample_rate_hz), self._embedded(event.what)))
        self.total = self.total + torch.cat(cosines).double().mean().to(self.total)
        self.count = self.count + 1

    def _embedded(self, what: str) -> Tensor:
        """Embedding ``(1, dim)`` of the name of a source, computed once."""
        if what not in self._texts:
            self._texts[what] = self.reward.embed_text(PROMPT.format(what))[None].cpu()
        return self._texts[what]
