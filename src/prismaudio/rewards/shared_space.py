"""Sound and text in one space: what the rewards and metrics of CLAP-like networks have in common."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import cosine_similarity, normalize

from prismaudio.rewards.base import Cache, Reward, plan_text
from prismaudio.rewards.tokens import PublishedTokenizer, Tokenize, pieces
from prismaudio.types import Need
from prismaudio.weight_files import fingerprint

if TYPE_CHECKING:
    from prismaudio.plan import Plan
    from prismaudio.types import Clip


class SharedSpace(nn.Module, ABC):
    """Two encoders, one of sound and one of text, into one space.

    Attributes:
        longest: The most tokens that the encoder of text was trained with; longer texts are read in pieces.
    """

    longest: ClassVar[int] = 77

    @abstractmethod
    def embed_audio(self, audio: Tensor, sample_rate_hz: int) -> Tensor:
        """Embeddings ``(batch, width)`` of audio ``(batch, 2, samples)`` of any length, heard whole."""

    @abstractmethod
    def embed_tokens(self, tokens: Tensor, real: Tensor) -> Tensor:
        """Embeddings ``(texts, width)`` of texts.

        Args:
            tokens: Numbers of tokens, int64 ``(texts, length)``.
            real: Which of them are no padding, bool ``(texts, length)``.
        """

    def embed_text(self, text: str, tokenize: Tokenize) -> Tensor:
        """Direction ``(width,)`` of a text: the mean of those of its pieces, weighted by their tokens.

        A text of up to ``longest`` tokens is one piece; of a longer one every part counts by its length.
        """
        parts = [tokenize(piece) for piece in pieces(text, lambda part: len(tokenize(part)), self.longest)]
        tokens = [torch.tensor(part) for part in parts]
        real = [torch.ones(len(part), dtype=torch.bool) for part in parts]
        padded, mask = (nn.utils.rnn.pad_sequence(some, batch_first=True).to(self.device) for some in (tokens, real))
        shares = mask.sum(1, keepdim=True) / mask.sum()
        return (shares * normalize(self.embed_tokens(padded, mask))).sum(0)

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return next(self.parameters()).device


class CosineReward(Reward):
    """Cosine between a sound and the plan in a space that they share.

    Args:
        space: The encoders.
        tokenize: The tokenizer of the encoder of text.
        text: ``"section"`` to compare with the section of the reward's dimension, ``"plan"`` with the whole plan.
    """

    dimension: ClassVar[str | None] = "semantic"
    needs: frozenset[Need] = frozenset({"plan"})
    range = (-1.0, 1.0)
    published_tokenizer: ClassVar[PublishedTokenizer | None] = None
    """The tokenizer that it was published with."""

    def __init__(self, space: SharedSpace, tokenize: Tokenize, text: Literal["section", "plan"] = "section") -> None:
        self.space = space
        self.tokenize = tokenize
        self.text: Literal["section", "plan"] = text
        self._identity = f"{type(self).__module__}:{type(self).__qualname__} {text} {fingerprint(space)}"

    @property
    def identity(self) -> str:
        """What the direction of a text depends on: the weights, not where they were found."""
        return self._identity

    @property
    def networks(self) -> Sequence[nn.Module]:
        """The network that it embeds with."""
        return (self.space,)

    def embed_audio(self, audio: Tensor, sample_rate_hz: int) -> Tensor:
        """Embeddings ``(batch, width)`` of sounds."""
        return self.space.embed_audio(audio, sample_rate_hz)

    def embed_text(self, text: str) -> Tensor:
        """Embedding ``(width,)`` of a text."""
        return self.space.embed_text(text, self.tokenize)

    @torch.no_grad()
    def prepare(self, clip: Clip, plan: Plan) -> Cache:
        """The embedding of the text, ``text`` ``(width,)``."""
        return {"text": self.embed_text(plan_text(plan, self.dimension, self.text)).cpu()}

    @torch.no_grad()
    def score(self, audio: Tensor, sample_rate_hz: int, caches: Sequence[Cache]) -> Tensor:
        """Cosines ``(batch,)``."""
        self.space.to(audio.device)
        texts = torch.stack([cache["text"] for cache in caches]).to(audio.device)
        return cosine_similarity(self.embed_audio(audio.float(), sample_rate_hz), texts)
