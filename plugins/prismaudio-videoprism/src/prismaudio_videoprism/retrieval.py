"""Embeddings of whole clips and of texts in one space: for retrieval, and for metrics that compare both."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from prismaudio.errors import CheckpointError, one_line
from prismaudio.paths import expanded
from prismaudio_videoprism.frames import FPS, squared
from prismaudio_videoprism.weights import find, load_text_tower, load_video_tower

if TYPE_CHECKING:
    from pathlib import Path

    from prismaudio.types import Clip

MAX_TOKENS = 64


class VideoTextEmbedder:
    """VideoPrism's embeddings of clips and texts, of length 1; their product is the similarity of a clip and a text.

    Args:
        weights: See :class:`prismaudio_videoprism.encoder.VideoPrismEncoder`.
        tokenizer: A ``sentencepiece.model`` (of the vocabulary ``c4_en``) or a ``tokenizer.json``, or a folder that has
            one; None for clips alone.
        revision: See there.
        device: Where the networks run.

    Raises:
        CheckpointError: Weights or tokenizer cannot be had.
    """

    def __init__(
        self,
        weights: str | None = None,
        tokenizer: str | None = None,
        revision: str | None = None,
        device: str | torch.device = "cpu",
    ) -> None:
        path = find(weights, revision)
        self.video, self.sizes = load_video_tower(path)
        self.text = None if tokenizer is None else load_text_tower(path).to(device)
        self.tokenizer = None if tokenizer is None else load_tokenizer(expanded(tokenizer))
        self.video.to(device)
        self.device = torch.device(device)

    @torch.no_grad()
    def embed_clip(self, clip: Clip) -> Tensor:
        """Embedding ``(dim,)`` of a clip.

        Raises:
            MediaError: It has no frames.
        """
        frames = squared(clip.frames_at(FPS), self.sizes["image_size"])
        embedding: Tensor = self.video(frames[None].to(self.device))[1][0]
        return embedding

    @torch.no_grad()
    def embed_text(self, text: str) -> Tensor:
        """Embedding ``(dim,)`` of a text, of which the first 64 tokens count.

        Raises:
            CheckpointError: No tokenizer was given.
        """
        if self.text is None or self.tokenizer is None:
            raise CheckpointError("VideoTextEmbedder embeds no text without a tokenizer; name the sentencepiece.model")
        ids = self.tokenizer(canonical(text))[:MAX_TOKENS]
        padded = torch.zeros(1, MAX_TOKENS, dtype=torch.long, device=self.device)
        padded[0, : len(ids)] = torch.tensor(ids, device=self.device)
        mask = (torch.arange(MAX_TOKENS, device=self.device) < len(ids)).long()[None]
        embedding: Tensor = self.text(padded, mask)[0]
        return embedding


def canonical(text: str) -> str:
    """A text as VideoPrism was trained on: lower case, no punctuation but a full stop at the end.

    Example:
        >>> canonical("A dog barks, twice!")
        'a dog barks twice.'
    """
    words = re.sub(r"[^\w\s]|_", " ", text.lower()).split()
    return " ".join(words) + "."


def load_tokenizer(path: Path) -> Any:
    """A function from a text to the ids of its tokens.

    Args:
        path: A SentencePiece model, a ``tokenizer.json``, or a folder that has one.

    Raises:
        CheckpointError: It cannot be read.
    """
    if path.is_dir():
        names = ("tokenizer.json", "sentencepiece.model", "spiece.model")
        path = next((path / name for name in names if (path / name).is_file()), path)
    try:
        if path.suffix == ".json":
            from tokenizers import Tokenizer

            read = Tokenizer.from_file(str(path))
            return lambda text: read.encode(text, add_special_tokens=False).ids
        from sentencepiece import SentencePieceProcessor

        return SentencePieceProcessor(model_file=str(path)).encode
    except Exception as error:  # the packages raise errors of many kinds
        raise CheckpointError(
            f"{path} is no tokenizer: {one_line(error, 160)}; expected a tokenizer.json, or a sentencepiece.model and "
            "the package sentencepiece"
        ) from error
