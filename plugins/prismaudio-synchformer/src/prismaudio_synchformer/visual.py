"""The visual tower: a transformer over space-time patches with divided space-time attention."""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from prismaudio_synchformer.aggregation import Aggregation
from prismaudio_synchformer.segments import LENGTH, SIZE, STEP, cut_frames, n_segments, square

if TYPE_CHECKING:
    from collections.abc import Sequence

TIMES, PLACES = 8, 196
"""Tokens of a segment along time (two frames each) and space (14 rows of 14)."""
AT_ONCE = {"cpu": 2, "cuda": 27}
"""Segments per forward pass, which bounds the memory."""


class DividedAttention(nn.Module):
    """Attention of each token to its own group and to the first token, which attends to all tokens.

    Args:
        dim: Dim of a token.
        num_heads: Attention heads.
        group: Groups of tokens: those at one place over ``"time"``, or at one time over ``"space"``.
    """

    def __init__(self, dim: int, num_heads: int, group: Literal["time", "space"]) -> None:
        super().__init__()
        self.num_heads, self.group = num_heads, group
        self.qkv = nn.Linear(dim, 3 * dim)
        self.proj = nn.Linear(dim, dim)

    def forward(self, tokens: Tensor) -> Tensor:
        """Tokens ``(batch, 1 + 8 * 196, dim)``: the first one, then time by time."""
        query, key, value = self.qkv(tokens).unflatten(2, (3, self.num_heads, -1)).permute(2, 0, 3, 1, 4)
        first = F.scaled_dot_product_attention(query[:, :, :1], key, value)
        keys, values = (self._grouped(x[:, :, 1:], x[:, :, :1]) for x in (key, value))
        rest = F.scaled_dot_product_attention(self._grouped(query[:, :, 1:]), keys, values)
        attended = torch.cat([first, self._ungrouped(rest, len(tokens))], 2)
        mixed: Tensor = self.proj(attended.transpose(1, 2).flatten(2))
        return mixed

    def _grouped(self, x: Tensor, first: Tensor | None = None) -> Tensor:
        """``(batch * groups, heads, members, size)`` of ``(batch, heads, 8 * 196, size)``, after the first token."""
        grid = x.unflatten(2, (TIMES, PLACES))  # batch, heads, time, place, size
        grid = grid.permute(0, 3, 1, 2, 4) if self.group == "time" else grid.transpose(1, 2)
        if first is not None:
            grid = torch.cat([first[:, None].expand(-1, grid.shape[1], -1, -1, -1), grid], 3)
        return grid.flatten(0, 1)

    def _ungrouped(self, x: Tensor, batch: int) -> Tensor:
        grid = x.unflatten(0, (batch, -1))
        grid = grid.permute(0, 2, 3, 1, 4) if self.group == "time" else grid.transpose(1, 2)
        return grid.flatten(2, 3)


class Mlp(nn.Module):
    """Two linear layers with an exact GELU between them."""

    def __init__(self, dim: int, hidden: int) -> None:
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(dim, hidden), nn.Linear(hidden, dim)

    def forward(self, x: Tensor) -> Tensor:
        """The same shape ``(..., dim)``."""
        made: Tensor = self.fc2(F.gelu(self.fc1(x)))
        return made


class Block(nn.Module):
    """Pre-norm block: attention over time, attention over space, then an MLP, each with a residual connection."""

    def __init__(self, dim: int, num_heads: int, mlp_ratio: float) -> None:
        super().__init__()
        self.norm1, self.norm2, self.norm3 = (nn.LayerNorm(dim, eps=1e-6) for _ in range(3))
        self.attn = DividedAttention(dim, num_heads, "space")
        self.timeattn = DividedAttention(dim, num_heads, "time")
        self.mlp = Mlp(dim, int(mlp_ratio * dim))

    def forward(self, tokens: Tensor) -> Tensor:
        """The same shape ``(batch, tokens, dim)``."""
        tokens = tokens + self.timeattn(self.norm3(tokens))
        tokens = tokens + self.attn(self.norm1(tokens))
        changed: Tensor = tokens + self.mlp(self.norm2(tokens))
        return changed


class Tubelets(nn.Module):
    """Blocks of 2 frames by 16 x 16 pixels as tokens."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.proj = nn.Conv3d(3, dim, (2, 16, 16), (2, 16, 16))

    def forward(self, frames: Tensor) -> Tensor:
        """Tokens ``(batch, 8 * 196, dim)`` of frames ``(batch, 16, 3, 224, 224)``."""
        made: Tensor = self.proj(frames.transpose(1, 2))
        return made.flatten(2).transpose(1, 2)


class VisualTower(nn.Module):
    """Eight features for each segment of 16 frames.

    Names of weights are those of the published checkpoint, below ``vfeat_extractor``.

    Args:
        dim: Dim of a feature.
        depth: Number of blocks.
        num_heads: Attention heads.
        mlp_ratio: Ratio of the hidden dim to the dim of a feature.

    Source:
        MotionFormer with divided attention as Synchformer uses it, from its specification; the unused
        convolution over single frames in the checkpoint is omitted.
    """

    def __init__(self, dim: int = 768, depth: int = 12, num_heads: int = 12, mlp_ratio: float = 4) -> None:
        super().__init__()
        self.cls_token = nn.Parameter(torch.zeros(1, 1, dim))
        self.pos_embed = nn.Parameter(torch.zeros(1, 1 + PLACES, dim))
        self.temp_embed = nn.Parameter(torch.zeros(1, TIMES, dim))
        self.patch_embed_3d = Tubelets(dim)
        self.blocks = nn.ModuleList(Block(dim, num_heads, mlp_ratio) for _ in range(depth))
        self.norm = nn.LayerNorm(dim, eps=1e-6)
        self.spatial_attn_agg = Aggregation(dim, num_heads, mlp_ratio)

    def forward(self, frames: Tensor) -> Tensor:
        """Features ``(segments, 8, dim)`` of frames ``(segments, 16, 3, 224, 224)`` in -1 .. 1."""
        here = self.pos_embed[:, 1:].repeat(1, TIMES, 1) + self.temp_embed.repeat_interleave(PLACES, 1)
        tokens = self.patch_embed_3d(frames) + here
        first = (self.cls_token + self.pos_embed[:, :1]).expand(len(tokens), -1, -1)
        tokens = torch.cat([first, tokens], 1)
        for block in self.blocks:
            tokens = block(tokens)
        places = self.norm(tokens[:, 1:]).unflatten(1, (TIMES, PLACES)).flatten(0, 1)
        gathered: Tensor = self.spatial_attn_agg(places)
        return gathered.unflatten(0, (-1, TIMES))


def encode_frames(tower: VisualTower, frames: Tensor, side: int = SIZE, dtype: torch.dtype = torch.float32) -> Tensor:
    """Features ``(segments, 8, dim)`` of frames uint8 ``(time, 3, height, width)`` at 25 a second.

    Args:
        tower: The network, on the device where they are made.
        frames: The frames, at least 16.
        side: Length in pixels of the shorter side to which they are brought before they are cropped.
        dtype: Precision in which they are normalised.
    """
    return encode_clips(tower, [frames], side, dtype)[0]


def encode_clips(
    tower: VisualTower, clips: Sequence[Tensor], side: int = SIZE, dtype: torch.dtype = torch.float32
) -> list[Tensor]:
    """Features of the frames of several clips of any lengths and sizes; see :func:`encode_frames`.

    Segments of different clips share a forward pass.
    """
    device = tower.cls_token.device
    counts, at_once = [n_segments(len(frames)) for frames in clips], AT_ONCE.get(device.type, 8)
    rows = [row for row, count in enumerate(counts) for _ in range(count)]
    starts = [STEP * index for count in counts for index in range(count)]
    made = []
    for first in range(0, len(rows), at_once):
        batch = range(first, min(first + at_once, len(rows)))
        parts = []
        for row, segments in groupby(batch, rows.__getitem__):
            begins = [starts[segment] for segment in segments]
            parts.append(cut_frames(square(clips[row][begins[0] : begins[-1] + LENGTH], side)))
        made.append(tower(normalised(torch.cat(parts).to(device), dtype).float()))
    return list(torch.cat(made).float().split(counts))


def normalised(frames: Tensor, dtype: torch.dtype = torch.float32) -> Tensor:
    """Frames uint8 in -1 .. 1."""
    return (frames.to(dtype) / 255 - 0.5) / 0.5
