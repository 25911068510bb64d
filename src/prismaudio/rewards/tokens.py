"""Tokenizers of published text encoders, and splitting of long texts."""

from __future__ import annotations

import importlib
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from prismaudio.downloads import PublishedFile
from prismaudio.errors import CheckpointError
from prismaudio.paths import expanded

ENDS = (r"(?<=[.!?;])\s+", r"\s+", r"(?<=\S)(?=\S)")
"""Where a text may be split, in order of preference: after a sentence, after a word, anywhere."""


class Tokenize:
    """Converts a text of any length to token ids, including the special tokens at its start and end.

    Args:
        tokenizer: A tokenizer of the package ``tokenizers``.
        end: Appended to every text.
    """

    def __init__(self, tokenizer: Any, end: str = "") -> None:
        self.tokenizer = tokenizer
        self.end = end

    def __call__(self, text: str) -> list[int]:
        """Token ids of a text."""
        return list(self.tokenizer.encode(text + self.end).ids)


class ByteTokens(Tokenize):
    """The bytes of a text as tokens, for networks with random weights.

    Example:
        >>> ByteTokens()("a!")
        [100, 36]
    """

    FIRST = 3
    """Lower ids are the start, padding and end tokens."""

    def __init__(self) -> None:
        super().__init__(None)

    def __call__(self, text: str) -> list[int]:
        """Token ids of the bytes of a text."""
        return [self.FIRST + byte for byte in text.encode()]


@dataclass(frozen=True)
class PublishedTokenizer:
    """The tokenizer of a published text encoder.

    Args:
        file: Its ``tokenizer.json``.
        n_tokens: Size of its vocabulary.
        end: Text that the encoder expects at the end and the tokenizer does not add.
    """

    file: PublishedFile
    n_tokens: int
    end: str = ""

    def load(self, given: str | Tokenize | None = None) -> Tokenize:
        """Load the tokenizer with the package ``tokenizers``, a dependency of transformers.

        Args:
            given: The file, a folder with a ``tokenizer.json``, or a repository of the hub; None for the default
                locations; a :class:`Tokenize` is returned unchanged.

        Raises:
            CheckpointError: The file is missing, damaged, empty, or another tokenizer.
        """
        if isinstance(given, Tokenize):
            return given
        inside = expanded(given or "") / "tokenizer.json"
        path = inside if given and inside.is_file() else self.file.find(given)
        try:
            tokenizer = importlib.import_module("tokenizers").Tokenizer.from_file(str(path))
        except Exception as error:  # the package raises nothing narrower
            raise CheckpointError(f"{path} is not a tokenizer ({error}); get {self.file.advice()}") from error
        tokenizer.no_truncation()
        tokenizer.no_padding()
        if (found := tokenizer.get_vocab_size()) != self.n_tokens:
            raise CheckpointError(
                f"the tokenizer {path} has {found:,} tokens, expected {self.n_tokens:,}; get {self.file.advice()}"
            )
        return Tokenize(tokenizer, self.end)


def pieces(text: str, count: Callable[[str], int], limit: int) -> list[str]:
    """Split a text into pieces of at most ``limit`` tokens by halving it, after a sentence if possible, else a word.

    Args:
        text: The text.
        count: Returns the number of tokens of a text.
        limit: Maximum number of tokens of a piece; a single character is never split.

    Example:
        >>> pieces("A dog barks. A dog barks, twice.", lambda text: len(text.split()), 3)
        ['A dog barks.', 'A dog', 'barks, twice.']
    """
    text = text.strip()
    if len(text) < 2 or count(text) <= limit:
        return [text]
    marks = next(found for end in ENDS if (found := [mark.end() for mark in re.finditer(end, text)]))
    middle = min(marks, key=lambda mark: abs(mark - len(text) / 2))
    return [piece for half in (text[:middle], text[middle:]) for piece in pieces(half, count, limit)]
