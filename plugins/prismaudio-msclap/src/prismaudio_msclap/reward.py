"""The semantic reward: similarity of audio and plan."""

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
"""Maximum number of tokens of the text encoder."""


class MsClapReward(CosineReward):
    """Cosine similarity of audio and plan by MS-CLAP 2023.

    Args:
        weights: The file of the weights, a folder with it, or a repository of the hub; None for the default locations.
        tokenizer: The ``tokenizer.json`` of GPT-2, a folder with it, or a repository of the hub; None for the default
            locations; or a tokenizer.
        text: ``"section"`` to compare with the section of the semantic dimension, ``"plan"`` with the whole plan.
        release: Score as the published reward: ignore audio after the last whole crop if it is longer than 7.4 s (the
            last 1.5 of nine seconds), do not split the text, of up to 1,024 tokens, and divide the scaled cosine
            similarity by 80. The published reward compares with the whole plan.
        network: A network to use instead of ``weights``.
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
        """What the embedding of a text depends on."""
        return f"{super().identity} {self.release}"

    def embed_audio(self, audio: Tensor, sample_rate_hz: int) -> Tensor:
        """Embeddings ``(batch, dim)`` of audio ``(batch, 2, samples)``."""
        return self.space.embed_audio(audio, sample_rate_hz, release=self.release)

    def embed_text(self, text: str) -> Tensor:
        """Embedding ``(dim,)`` of a text.

        Raises:
            NotApplicableError: With ``release``, the text is longer than 1,024 tokens.
        """
        if not self.release:
            return super().embed_text(text)
        tokens = self.tokenize(text)
        if len(tokens) > LONGEST:
            raise NotApplicableError(
                f"the text has {len(tokens):,} tokens, expected at most {LONGEST:,} with release; do not set release"
            )
        return self.space.embed_whole_text(torch.tensor([tokens], device=self.space.device))[0]

    def score(self, audio: Tensor, sample_rate_hz: int, caches: Sequence[Cache]) -> Tensor:
        """Cosine similarities ``(batch,)``, scaled as published with ``release``."""
        return self._scale * super().score(audio, sample_rate_hz, caches)
