"""PaSST: a transformer that classifies 10 s of audio into 527 AudioSet classes."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from prismaudio.downloads import PublishedFile
from prismaudio_av_benchmark.embedder import AudioEmbedder, Block, load
from prismaudio_av_benchmark.front_ends import PRE_EMPHASIS, mono_at, triangles_in_mel

FILE = PublishedFile(
    "passt-s-f128-p16-s10-ap.476-swa.pt",
    size_mb=345,
    licence="see the page; of the code Apache-2.0",
    page="https://github.com/kkoutini/PaSST/releases/tag/v0.0.1-audioset",
)
RATE_HZ, WINDOW, HOP, N_FFT, N_MELS = 32_000, 800, 320, 1024, 128
HIGH_HZ = 15_000
LENGTH = 10 * RATE_HZ
"""Samples that the network takes; longer audio is cut, shorter audio padded with silence."""
OFFSET, SHIFT, SCALE = 1e-5, 4.5, 5.0
PATCH, STRIDE = 16, 10
GRID = (12, 99)
"""Patches over mel bands and over time."""
N_CLASSES = 527
DISTILLATION = "head_dist."
"""The head of training by distillation, which is not used."""


class Passt(AudioEmbedder):
    """PaSST-S: embeddings and logits of the first 10 s.

    Args:
        dim: Width.
        depth: Number of blocks.
        num_heads: Number of heads.
        classes: Number of classes.

    Source:
        ``hear21passt.base.get_basic_model(mode="all")`` of hear21passt 0.0.26 (Apache-2.0), as av-benchmark uses it,
        with ``passt_s_swa_p16_128_ap476``; Koutini et al., "Efficient Training of Audio Transformers with Patchout",
        arXiv 2110.05069.
    """

    def __init__(self, dim: int = 768, depth: int = 12, num_heads: int = 12, classes: int = N_CLASSES) -> None:
        super().__init__()
        self.dim = dim
        self.cls_token = nn.Parameter(torch.zeros(1, 1, dim))
        self.dist_token = nn.Parameter(torch.zeros(1, 1, dim))
        self.new_pos_embed = nn.Parameter(torch.zeros(1, 2, dim))
        self.freq_new_pos_embed = nn.Parameter(torch.zeros(1, dim, GRID[0], 1))
        self.time_new_pos_embed = nn.Parameter(torch.zeros(1, dim, 1, GRID[1]))
        self.patch_embed = nn.ModuleDict({"proj": nn.Conv2d(1, dim, PATCH, STRIDE)})
        self.blocks = nn.Sequential(*(Block(dim, num_heads) for _ in range(depth)))
        self.norm = nn.LayerNorm(dim, eps=1e-6)
        self.head = nn.Sequential(nn.LayerNorm(dim), nn.Linear(dim, classes))

    def levels(self, mono: Tensor) -> Tensor:
        """Normalised log-mel levels ``(batch, 128, frames)`` of audio ``(batch, samples)`` at 32 kHz."""
        emphasized = mono[:, 1:] - PRE_EMPHASIS * mono[:, :-1]
        taper = torch.hann_window(WINDOW, periodic=False, device=mono.device)
        power = torch.stft(emphasized, N_FFT, HOP, WINDOW, taper, return_complex=True).abs().square()
        bands = triangles_in_mel(N_MELS, N_FFT, RATE_HZ, 0, HIGH_HZ).to(power)
        return ((bands @ power + OFFSET).log() + SHIFT) / SCALE

    def forward(self, mono: Tensor) -> tuple[Tensor, Tensor]:
        """Embeddings ``(batch, 768)`` and logits ``(batch, 527)`` of audio ``(batch, 320000)`` at 32 kHz."""
        patches = self.patch_embed["proj"](self.levels(mono)[:, None])
        patches = patches + self.time_new_pos_embed[..., : patches.shape[-1]] + self.freq_new_pos_embed
        first = torch.cat([self.cls_token, self.dist_token], 1) + self.new_pos_embed
        tokens = torch.cat([first.expand(len(mono), -1, -1), patches.flatten(2).transpose(1, 2)], 1)
        embeddings = self.norm(self.blocks(tokens))[:, :2].mean(1)
        return embeddings, self.head(embeddings)

    def compute(self, audio: Tensor, sample_rate_hz: int, length_s: float | None = None) -> dict[str, Tensor]:
        """``768``: the embedding ``(1, 768)``; ``logits``: those of the classes ``(1, 527)``."""
        mono = mono_at(audio, sample_rate_hz, RATE_HZ, length_s)[:LENGTH]
        embeddings, logits = self(F.pad(mono, (0, LENGTH - len(mono)))[None])
        return {"768": embeddings, "logits": logits}


def our_names(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Published weights by the names of :class:`Passt`.

    Example:
        >>> list(our_names({"blocks.0.attn.qkv.bias": torch.ones(1), "blocks.0.attn.proj.bias": torch.ones(1)}))
        ['blocks.0.attn.in_proj_bias', 'blocks.0.attn.out_proj.bias']
    """
    found = {}
    for name, value in weights.items():
        if not name.startswith(DISTILLATION):
            ours = re.sub(r"\.attn\.qkv\.", ".attn.in_proj_", name)
            found[re.sub(r"\.attn\.proj\.", ".attn.out_proj.", ours)] = value
    return found


@lru_cache(maxsize=2)
def load_passt(given: str | None = None) -> Passt:
    """The network with its weights, once for each file.

    Args:
        given: ``passt-s-f128-p16-s10-ap.476-swa.pt``, or a folder that has it; None for the default location.

    Raises:
        CheckpointError: They cannot be found, or are those of another network.
    """
    return cast("Passt", load(FILE.find(given), Passt, our_names))
