"""What both towers end in: a transformer layer that gathers tokens in one."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class Aggregation(nn.Module):
    """One pre-norm transformer layer over tokens and a learned one before them; only that one comes out.

    Only what the learned token needs is computed: its query, and keys and values of all.

    Args:
        width: Width of a token.
        heads: Attention heads.
        mlp_ratio: Width of the hidden layer, in widths of a token.

    Source:
        ``spatial_attn_agg`` and ``freq_attn_agg`` of Synchformer, from their specification.
    """

    def __init__(self, width: int, heads: int, mlp_ratio: float = 4) -> None:
        super().__init__()
        self.cls_token = nn.Parameter(torch.zeros(1, 1, width))
        self.self_attn = nn.MultiheadAttention(width, heads, batch_first=True)
        self.linear1 = nn.Linear(width, int(mlp_ratio * width))
        self.linear2 = nn.Linear(int(mlp_ratio * width), width)
        self.norm1 = nn.LayerNorm(width, eps=1e-6)
        self.norm2 = nn.LayerNorm(width, eps=1e-6)

    def forward(self, tokens: Tensor) -> Tensor:
        """One token ``(batch, width)`` for tokens ``(batch, any, width)``."""
        learned = self.cls_token.expand(len(tokens), -1, -1)
        normed = self.norm1(torch.cat([learned, tokens], 1))
        gathered = learned + self.self_attn(normed[:, :1], normed, normed, need_weights=False)[0]
        gathered = gathered + self.linear2(F.gelu(self.linear1(self.norm2(gathered))))
        return gathered[:, 0]
