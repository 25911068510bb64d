"""Text for published encoders: their tokenizers, and long texts in pieces that they can read."""

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
"""Where a text may be cut, best first: after a sentence, after a word, anywhere."""


class Tokenize:
    """Turns a text into the numbers of its tokens, whatever its length, with those that begin and end it.

    Args:
        tokenizer: A tokenizer of the package ``tokenizers``.
        end: What is put after every text.
    """

    def __init__(self, tokenizer: Any, end: str = "") -> None:
        self.tokenizer = tokenizer
        self.end = end

    def __call__(self, text: str) -> list[int]:
        """Numbers of the tokens of a text."""
        return list(self.tokenizer.encode(text + self.end).ids)


class ByteTokens(Tokenize):
    """The bytes of a text as tokens: for networks with random weights, to which no token means anything.

    Example:
        >>> ByteTokens()("a!")
        [100, 36]
    """

    FIRST = 3
    """Lower numbers begin, pad and end a text."""

    def __init__(self) -> None:
        super().__init__(None)

    def __call__(self, text: str) -> list[int]:
        """Numbers of the bytes of a text."""
        return [self.FIRST + byte for byte in text.encode()]


@dataclass(frozen=True)
class PublishedTokenizer:
    """The tokenizer of a published text encoder.

    Args:
        file: Its ``tokenizer.json``.
        n_tokens: How many tokens it knows.
        end: What the encoder expects after every text, where the tokenizer does not put it there.
    """

    file: PublishedFile
    n_tokens: int
    end: str = ""

    def load(self, given: str | Tokenize | None = None) -> Tokenize:
        """Read it; it needs the package ``tokenizers``, which comes with transformers.

        Args:
            given: The file, a folder with a ``tokenizer.json``, or a repository of the hub; None for the known places;
                or a tokenizer, which is taken as it is.

        Raises:
            CheckpointError: It cannot be had, it is damaged, or it is another one or empty.
        """
        if isinstance(given, Tokenize):
            return given
        inside = expanded(given or "") / "tokenizer.json"
        path = inside if given and inside.is_file() else self.file.find(given)
        try:
            tokenizer = importlib.import_module("tokenizers").Tokenizer.from_file(str(path))
        except Exception as error:  # the package raises nothing narrower
            raise CheckpointError(f"{path} is no tokenizer ({error}); get {self.file.advice()}") from error
        tokenizer.no_truncation()
        tokenizer.no_padding()
        if (found := tokenizer.get_vocab_size()) != self.n_tokens:
            raise CheckpointError(
                f"the tokenizer {path} knows {found:,} tokens, expected {self.n_tokens:,}; get {self.file.advice()}"
            )
        return Tokenize(tokenizer, self.end)


def pieces(text: str, count: Callable[[str], int], limit: int) -> list[str]:
    """A text in pieces that are short enough, cut in halves where a sentence ends, or else a word.

    Args:
        text: The text.
        count: Tells how long a text is, in tokens.
        limit: The longest piece allowed; one character is never cut.

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
