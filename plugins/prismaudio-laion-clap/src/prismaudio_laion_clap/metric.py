"""The CLAP score: how well sounds match what they should be."""

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
    """Mean cosine between sounds, without their DC, and plans by LAION-CLAP.

    Args:
        weights: See :class:`~prismaudio_laion_clap.reward.LaionClapReward`, which has the network.
        tokenizer: The ``tokenizer.json`` of RoBERTa; see there.
        text: ``"section"`` to compare with the section of the semantic dimension, ``"plan"`` with the whole plan.
        network: The network, if it is there already, in place of ``weights``.

    Source:
        av-benchmark at 050a5cdb. It compares with a caption, of which it reads 77 tokens.
    """

    dimension: ClassVar[str | None] = "semantic"
    needs: frozenset[Need] = frozenset({"plan"})

    def __init__(
        self,
        weights: str | None = None,
        tokenizer: str | Tokenize | None = None,
        text: Literal["section", "plan"] = "section",
        network: LaionClap | None = None,
    ) -> None:
        super().__init__()
        self.reward = LaionClapReward(weights, tokenizer, text, network)

    @property
    def networks(self) -> Sequence[nn.Module]:
        """The network that it measures with."""
        return (self.reward.space,)

    @torch.no_grad()
    def features(self, sound: Tensor, sample_rate_hz: int) -> Tensor:
        """Embedding ``(1, width)`` of a sound."""
        self.reward.space.to(sound.device)
        return self.reward.embed_audio(sound[None] - sound.mean(), sample_rate_hz)

    @torch.no_grad()
    def target(self, truth: Target) -> Tensor | None:
        """Embedding ``(1, width)`` of the plan."""
        if truth.plan is None:
            return None
        return self.reward.embed_text(plan_text(truth.plan, self.dimension, self.reward.text))[None].cpu()
