"""The semantic reward: does the sound match the plan?"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor

from prismaudio.errors import NotApplicableError
from prismaudio.rewards.base import Cache
from prismaudio.rewards.shared_space import CosineReward
from prismaudio.rewards.tokens import Tokenize
from prismaudio_msclap.network import MsClap
from prismaudio_msclap.published import TOKENIZER, load

LONGEST = 1024
"""The most tokens that the encoder of text takes."""


class MsClapReward(CosineReward):
    """Cosine between the sound and the plan by MS-CLAP 2023.

    Args:
        weights: The file of the weights, a folder with it, or a repository of the hub; None for the known places.
        tokenizer: The ``tokenizer.json`` of GPT-2, a folder with it, or a repository of the hub; None for the known
            places; or a tokenizer.
        text: ``"section"`` to compare with the section of the semantic dimension, ``"plan"`` with the whole plan.
        release: Do as the published reward does: of a sound longer than 7.4 s leave out what follows the last whole
            crop (of nine seconds the last 1.5), read the text at once, up to 1,024 tokens, and divide the scaled
            cosine by 80. It compared with the whole plan.
        network: The network, if it is there already, in place of ``weights``.
    """

    published_tokenizer = TOKENIZER

    def __init__(
        self,
        weights: str | None = None,
        tokenizer: str | Tokenize | None = None,
        text: Literal["section", "plan"] = "section",
        release: bool = False,  # noqa: FBT001, FBT002  (a recipe names it)
        network: MsClap | None = None,
    ) -> None:
        self.space: MsClap = load(weights) if network is None else network.eval()
        super().__init__(self.space, TOKENIZER.load(tokenizer), text)
        self.release = release
        self._scale = math.exp(self.space.logit_scale.item()) / 80 if release else 1.0
        self.range = (-self._scale, self._scale)

    @property
    def identity(self) -> str:
        """What the direction of a text depends on."""
        return f"{super().identity} {self.release}"

    def embed_audio(self, audio: Tensor, sample_rate_hz: int) -> Tensor:
        """Embeddings ``(batch, width)`` of sounds."""
        return self.space.embed_audio(audio, sample_rate_hz, release=self.release)

    def embed_text(self, text: str) -> Tensor:
        """Embedding ``(width,)`` of a text.

        Raises:
            NotApplicableError: It is longer than what the published reward reads.
        """
        if not self.release:
            return super().embed_text(text)
        tokens = self.tokenize(text)
        if len(tokens) > LONGEST:
            raise NotApplicableError(
                f"the text has {len(tokens):,} tokens, and the published one reads {LONGEST:,}; leave out release"
            )
        return self.space.embed_whole_text(torch.tensor([tokens], device=self.space.device))[0]

    def score(self, audio: Tensor, sample_rate_hz: int, caches: Sequence[Cache]) -> Tensor:
        """Cosines ``(batch,)``, scaled as published if that is wanted."""
        return self._scale * super().score(audio, sample_rate_hz, caches)
