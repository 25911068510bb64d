"""Embeddings of whole clips and of texts in one space: for retrieval, and for metrics that compare both."""

from __future__ import annotations

import string
from dataclasses import replace
from typing import TYPE_CHECKING

import torch
from tokenizers import Tokenizer
from torch import Tensor
from torch.nn import functional as F

from prismaudio.errors import CheckpointError, MediaError, one_line
from prismaudio.plan import Plan
from prismaudio.weight_folders import CONFIG, read_json
from prismaudio_clip.encoder import ClipEncoder, XClipEncoder
from prismaudio_clip.networks import CLIP, load_text_tower

if TYPE_CHECKING:
    from pathlib import Path

    from prismaudio.types import Clip

TOKENIZER = "tokenizer.json"


class VideoTextEmbedder:
    """Embeddings of clips and texts by CLIP, SigLIP or X-CLIP, of length 1; their product is a similarity.

    That of a clip is the mean of the embeddings of its frames; of SigLIP and CLIP each has length 1 before the mean,
    as is usual, of X-CLIP it has not. X-CLIP's prompts that depend on the video are left out of its texts, so that
    texts can be embedded alone.

    Args:
        weights: See :class:`prismaudio_clip.encoder.ClipEncoder`; X-CLIP is recognised.
        revision: See there.
        fps: Frames per second that are embedded.
        device: Where the networks run.

    Raises:
        CheckpointError: The weights or ``tokenizer.json`` cannot be had.
    """

    def __init__(
        self,
        weights: str | None = None,
        revision: str | None = None,
        fps: float = 4.0,
        device: str | torch.device = "cpu",
    ) -> None:
        folder = replace(CLIP, files=(*CLIP.files, TOKENIZER)).find(weights, revision)
        is_xclip = read_json(folder / CONFIG).get("model_type") in XClipEncoder.model_types
        kind = XClipEncoder if is_xclip else ClipEncoder
        self.video = kind(str(folder), fps=fps).to(device)
        self.text = load_text_tower(folder, kind.model_types).to(device)
        self.tokenizer = _load_tokenizer(folder / TOKENIZER, self.text.max_tokens)
        self.device = torch.device(device)

    @torch.no_grad()
    def embed_clip(self, clip: Clip) -> Tensor:
        """Embedding ``(dim,)`` of a clip.

        Raises:
            MediaError: It has no frames.
        """
        frames = self.video.encode(clip, Plan({}))
        if not len(frames):
            raise MediaError(f"clip {clip.id} has no frames to embed")
        if self.video.tower.mit is None:
            frames = F.normalize(frames, dim=-1)
        return F.normalize(frames.mean(0), dim=-1)

    @torch.no_grad()
    def embed_text(self, text: str) -> Tensor:
        """Embedding ``(dim,)`` of a text, of which as many tokens count as the network has positions."""
        pad_to = self.text.pad_to
        ids = self.tokenizer.encode(text if pad_to is None else canonical(text)).ids
        if pad_to is not None:
            ids = ids + [self.text.pad_id] * (pad_to - len(ids))
        embedding: Tensor = self.text(torch.tensor([ids], device=self.device))[0]
        return embedding


def canonical(text: str) -> str:
    """A text as SigLIP was trained on: lower case without punctuation.

    Example:
        >>> canonical("A dog barks, twice!")
        'a dog barks twice'
    """
    return " ".join(text.lower().translate(str.maketrans("", "", string.punctuation)).split())


def _load_tokenizer(path: Path, max_tokens: int) -> Tokenizer:
    try:
        tokenizer = Tokenizer.from_file(str(path))
    except Exception as error:  # the package raises errors of many kinds
        raise CheckpointError(f"{path} is not a tokenizer.json: {one_line(error, 160)}") from error
    tokenizer.no_padding()
    tokenizer.enable_truncation(max_tokens)
    return tokenizer
