"""The CLAP score: similarity of audio and plan."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

import torch
from torch import Tensor, nn

from prismaudio.metrics.networks import AudioCosine
from prismaudio.rewards.base import plan_text
from prismaudio.rewards.tokens import Tokenize
from prismaudio.types import Need
from prismaudio_laion_clap.network import LaionClap
from prismaudio_laion_clap.reward import LaionClapReward

if TYPE_CHECKING:
    from collections.abc import Sequence

    from prismaudio.metrics.target import Target


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
