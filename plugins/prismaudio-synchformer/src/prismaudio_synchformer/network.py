"""Synchformer: two towers and a head."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from prismaudio_synchformer.audio import AudioTower, spectrogram
from prismaudio_synchformer.head import SyncHead
from prismaudio_synchformer.segments import LENGTH, SIZE, STEP, cut_frames, n_segments, square
from prismaudio_synchformer.visual import VisualTower

AT_ONCE = {"cpu": 2, "cuda": 27}
"""Segments of pictures that go through the network together; bounds the memory."""
HEARD_AT_ONCE = 256


class Synchformer(nn.Module):
    """How far sound and pictures are apart, in steps of 0.2 s from 2 s late to 2 s early.

    Names of weights are those of the published checkpoint, apart from the layers of the audio spectrogram transformer.

    Args:
        width: Width of a feature of the towers.
        depth: Blocks of each tower.
        heads: Attention heads of each tower.
        head_width: Width of the head.
        head_depth: Blocks of the head.
        head_heads: Attention heads of the head.

    Source:
        Iashin et al., "Synchformer: Efficient Synchronization from Sparse Cues", ICASSP 2024, from a specification
        of its code.
    """

    def __init__(
        self,
        width: int = 768,
        depth: int = 12,
        heads: int = 12,
        head_width: int = 768,
        head_depth: int = 3,
        head_heads: int = 8,
    ) -> None:
        super().__init__()
        self.vfeat_extractor = VisualTower(width, depth, heads)
        self.afeat_extractor = AudioTower(width, depth, heads)
        self.vproj, self.aproj = nn.Linear(width, head_width), nn.Linear(width, head_width)
        self.transformer = SyncHead(head_width, head_depth, head_heads)

    def hear(self, segments: Tensor) -> Tensor:
        """Features ``(segments, 6, width)`` of segments of sound ``(segments, 10240)`` at 16 kHz."""
        made = [self.afeat_extractor(spectrogram(some)) for some in segments.split(HEARD_AT_ONCE)]
        return torch.cat(made).float()

    def compare(self, seen: Tensor, heard: Tensor) -> Tensor:
        """Logits ``(batch, 21)`` of features ``(batch, 14, 8, width)`` and ``(batch, 14, 6, width)``."""
        logits: Tensor = self.transformer(self.vproj(seen).flatten(1, 2), self.aproj(heard).flatten(1, 2))
        return logits.float()


def see(tower: VisualTower, frames: Tensor, side: int = SIZE, dtype: torch.dtype = torch.float32) -> Tensor:
    """Features ``(segments, 8, width)`` of pictures uint8 ``(time, 3, height, width)`` at 25 a second.

    Args:
        tower: The network, on the device where they are made.
        frames: The pictures, at least 16.
        side: Length in pixels of the shorter side to which they are brought before they are cropped.
        dtype: Precision in which they are normalised.
    """
    device = tower.cls_token.device
    count, at_once = n_segments(len(frames)), AT_ONCE.get(device.type, 8)
    made = []
    for first in range(0, count, at_once):
        last = min(first + at_once, count) - 1
        some = cut_frames(square(frames[first * STEP : last * STEP + LENGTH], side))
        made.append(tower(normalised(some.to(device), dtype).float()))
    return torch.cat(made).float()


def normalised(pictures: Tensor, dtype: torch.dtype = torch.float32) -> Tensor:
    """Pictures uint8 in -1 .. 1."""
    return (pictures.to(dtype) / 255 - 0.5) / 0.5
