"""Synchformer: two towers and a head."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from prismaudio_synchformer.audio import AudioTower, spectrogram
from prismaudio_synchformer.head import SyncHead
from prismaudio_synchformer.segments import WINDOW
from prismaudio_synchformer.visual import VisualTower

HEARD_AT_ONCE = 256
"""Segments of sound that go through the network together; bounds the memory."""


class Synchformer(nn.Module):
    """How far sound and frames are apart, in steps of 0.2 s from 2 s late to 2 s early.

    Names of weights are those of the published checkpoint, apart from the layers of the audio spectrogram transformer.

    Args:
        dim: Dim of a feature of the towers.
        depth: Blocks of each tower.
        num_heads: Attention num_heads of each tower.
        head_width: Dim of the head.
        head_depth: Blocks of the head.
        head_heads: Attention num_heads of the head.
        mlp_ratio: Dim of the hidden layers of each tower, in widths of a feature.
        window: Segments that the head compares.

    Source:
        Iashin et al., "Synchformer: Efficient Synchronization from Sparse Cues", ICASSP 2024, from a specification
        of its code.
    """

    def __init__(
        self,
        dim: int = 768,
        depth: int = 12,
        num_heads: int = 12,
        head_width: int = 768,
        head_depth: int = 3,
        head_heads: int = 8,
        mlp_ratio: float = 4,
        window: int = WINDOW,
    ) -> None:
        super().__init__()
        self.vfeat_extractor = VisualTower(dim, depth, num_heads, mlp_ratio)
        self.afeat_extractor = AudioTower(dim, depth, num_heads, mlp_ratio)
        self.vproj, self.aproj = nn.Linear(dim, head_width), nn.Linear(dim, head_width)
        self.transformer = SyncHead(head_width, head_depth, head_heads, window)

    def hear(self, segments: Tensor) -> Tensor:
        """Features ``(segments, 6, dim)`` of segments of audio ``(segments, 10240)`` at 16 kHz."""
        made = [self.afeat_extractor(spectrogram(some)) for some in segments.split(HEARD_AT_ONCE)]
        return torch.cat(made).float()

    def compare(self, seen: Tensor, heard: Tensor) -> Tensor:
        """Logits ``(batch, 21)`` of features ``(batch, window, 8, dim)`` and ``(batch, window, 6, dim)``."""
        logits: Tensor = self.transformer(self.vproj(seen).flatten(1, 2), self.aproj(heard).flatten(1, 2))
        return logits.float()
