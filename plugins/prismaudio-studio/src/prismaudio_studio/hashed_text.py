"""A text encoder without weights: it hashes words of any language to vectors."""

from __future__ import annotations

import functools
import hashlib
import math
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from prismaudio.checkpoints import Configured, within
from prismaudio.encoders.base import Encoder
from prismaudio.plan.sections import CORE
from prismaudio_studio.understanding import unknown_clauses
from prismaudio_studio.words import Vocabulary

if TYPE_CHECKING:
    from prismaudio.plan import Plan
    from prismaudio.types import Clip

WORD_DIM = 64
NUMBER_DIM = 6
PREFIX_LETTERS = 4
TOKEN = re.compile(r"-?\d+(?:\.\d+)?|[^\W\d_]+")


class HashedTextEncoder(Configured, Encoder):
    """Encode the words of a plan by hashing, each with its two neighbours and its section.

    The vector of a word combines a hash of the word and a hash of its first four letters, so that *muffled* and
    *muffling* are similar; the vector of a number contains its value.

    Args:
        limit: Maximum number of words per section; further words are dropped.
        numbers: Whether to encode numbers; False if the plan grid already encodes them.
        sections: Sections to encode: those that the transformer was trained on. Add the sections of further
            dimensions here.
        vocabulary: Classes that the transformer learned from these features alone, besides those of its other
            encoders; None if it was trained on an open vocabulary.

    Example:
        >>> from prismaudio.plan import Plan
        >>> plan = Plan({"semantic": "A bell rings."})
        >>> HashedTextEncoder().encode_plan(plan).shape
        torch.Size([3, 262])
    """

    dim = 4 * WORD_DIM + NUMBER_DIM
    rate_hz = None

    def __init__(
        self,
        limit: int = 80,
        *,
        numbers: bool = False,
        sections: Sequence[str] = CORE,
        vocabulary: Sequence[str] | None = (),
    ) -> None:
        within(1, 100_000, limit=limit)
        self.limit = limit
        self.numbers = numbers
        self.sections = tuple(sections)
        self.vocabulary = vocabulary

    def encode(self, clip: Clip, plan: Plan) -> Tensor:
        """Features ``(words, dim)`` of the plan."""
        return self.encode_plan(plan)

    def unknown(self, text: str) -> list[str]:
        """The clauses that name nothing in the vocabulary."""
        return [] if self.vocabulary is None else unknown_clauses(text, Vocabulary(self.vocabulary))

    def encode_plan(self, plan: Plan) -> Tensor:
        """Features ``(words, dim)`` of the plan; ``(0, dim)`` for an empty plan."""
        rows = [row for name, text in plan.items() if name in self.sections for row in self._section(name, text)]
        return torch.stack(rows) if rows else torch.zeros(0, self.dim)

    def _section(self, name: str, text: str) -> list[Tensor]:
        words = [word for word in TOKEN.findall(text.lower()) if self.numbers or word[-1].isalpha()][: self.limit]
        section, edge = word_vector(f"<{name}>"), torch.zeros(WORD_DIM)
        vectors = [word_vector(word) for word in words]
        around = [edge, *vectors, edge]
        return [
            torch.cat([here, before, after, section, number_vector(word)])
            for word, here, before, after in zip(words, vectors, around, around[2:], strict=False)
        ]


@functools.cache
def word_vector(word: str) -> Tensor:
    """Unit-variance vector ``(64,)`` of a word."""
    if not word[-1].isalpha() and not word.endswith(">"):
        word = "<number>"
    signs = _signs(word) + _signs(word[:PREFIX_LETTERS])
    return signs / math.sqrt(2)


def _signs(text: str) -> Tensor:
    digest = int.from_bytes(hashlib.blake2b(text.encode(), digest_size=WORD_DIM // 8).digest(), "big")
    return torch.tensor([1.0 if digest >> bit & 1 else -1.0 for bit in range(WORD_DIM)])


def number_vector(word: str) -> Tensor:
    """Features ``(6,)`` of the value of a number; zero for other words."""
    if word[-1].isalpha():
        return torch.zeros(NUMBER_DIM)
    value = float(word)
    waves = [f(value * rate) for rate in (1.0, 4.0) for f in (math.sin, math.cos)]
    return torch.tensor([1.0, max(-10.0, min(10.0, value)) / 10, *waves])
