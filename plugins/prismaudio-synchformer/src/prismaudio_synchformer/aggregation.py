"""What both towers end in: a transformer layer that gathers tokens in one."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class Aggregation(nn.Module):
    """One pre-norm transformer layer over tokens and a learned one before them; only that one comes out.

    Only what the learned token needs is computed: its query, and keys and values of all.

    Args:
        dim: Dim of a token.
        num_heads: Attention num_heads.
        mlp_ratio: Dim of the hidden layer, in widths of a token.

    Source:
        ``spatial_attn_agg`` and ``freq_attn_agg`` of Synchformer, from their specification.
    """

    def __init__(self, dim: int, num_heads: int, mlp_ratio: float = 4) -> None:
        super().__init__()
        self.cls_token = nn.Parameter(torch.zeros(1, 1, dim))
        self.self_attn = nn.MultiheadAttention(dim, num_heads, batch_first=True)
        self.linear1 = nn.Linear(dim, int(mlp_ratio * dim))
        self.linear2 = nn.Linear(int(mlp_ratio * dim), dim)
        self.norm1 = nn.LayerNorm(dim, eps=1e-6)
        self.norm2 = nn.LayerNorm(dim, eps=1e-6)

    def forward(self, tokens: Tensor) -> Tensor:
        """One token ``(batch, dim)`` for tokens ``(batch, any, dim)``."""
        learned = self.cls_token.expand(len(tokens), -1, -1)
        normed = self.norm1(torch.cat([learned, tokens], 1))
        gathered = learned + self.self_attn(normed[:, :1], normed, normed, need_weights=False)[0]
        gathered = gathered + self.linear2(F.gelu(self.linear1(self.norm2(gathered))))
        return gathered[:, 0]
