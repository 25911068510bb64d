"""The head: from what is seen and heard in a window of segments to how far they are apart."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from prismaudio_synchformer.segments import WINDOW


class HeadAttention(nn.Module):
    """Attention of all tokens to all, with a linear layer each for query, key, value and result."""

    def __init__(self, dim: int, num_heads: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.key, self.query, self.value, self.proj = (nn.Linear(dim, dim) for _ in range(4))

    def forward(self, tokens: Tensor) -> Tensor:
        """The same shape ``(batch, tokens, dim)``."""
        parts = (layer(tokens).unflatten(2, (self.num_heads, -1)) for layer in (self.query, self.key, self.value))
        attended = F.scaled_dot_product_attention(*(part.transpose(1, 2) for part in parts))
        mixed: Tensor = self.proj(attended.transpose(1, 2).flatten(2))
        return mixed


class HeadBlock(nn.Module):
    """Attention, then a perceptron, each on what is normalised and added to what was."""

    def __init__(self, dim: int, num_heads: int) -> None:
        super().__init__()
        self.ln1, self.ln2 = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.attn = HeadAttention(dim, num_heads)
        self.mlp = nn.Sequential(nn.Linear(dim, 4 * dim), nn.GELU(), nn.Linear(4 * dim, dim))

    def forward(self, tokens: Tensor) -> Tensor:
        """The same shape ``(batch, tokens, dim)``."""
        tokens = tokens + self.attn(self.ln1(tokens))
        changed: Tensor = tokens + self.mlp(self.ln2(tokens))
        return changed


class Positions(nn.Module):
    """Adds to every token of a sequence where it is."""

    def __init__(self, dim: int, n_tokens: int) -> None:
        super().__init__()
        self.pos_emb = nn.Parameter(torch.zeros(1, n_tokens, dim))

    def forward(self, tokens: Tensor) -> Tensor:
        """The same shape ``(batch, tokens, dim)``."""
        return tokens + self.pos_emb


class SyncHead(nn.Module):
    """Scores 21 offsets of sound against frames.

    Args:
        dim: Dim of a token.
        depth: Number of blocks.
        num_heads: Attention num_heads.
        window: Segments of a sequence, whose length is fixed.

    Source:
        ``GlobalTransformer`` of Synchformer, from its specification.
    """

    def __init__(self, dim: int = 768, depth: int = 3, num_heads: int = 8, window: int = WINDOW) -> None:
        super().__init__()
        self.OFF_tok, self.MOD_tok = (nn.Parameter(torch.zeros(1, 1, dim)) for _ in range(2))
        self.vis_in_lnorm, self.aud_in_lnorm = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.pos_emb_cfg = Positions(dim, 2 + window * (8 + 6))
        self.blocks = nn.ModuleList(HeadBlock(dim, num_heads) for _ in range(depth))
        self.ln_f = nn.LayerNorm(dim)
        self.off_head = nn.Linear(dim, 21)

    def forward(self, seen: Tensor, heard: Tensor) -> Tensor:
        """Logits ``(batch, 21)``, from sound 2 s late to 2 s early.

        Args:
            seen: ``(batch, window * 8, dim)``.
            heard: ``(batch, window * 6, dim)``.
        """
        offset, between = (token.expand(len(heard), -1, -1) for token in (self.OFF_tok, self.MOD_tok))
        tokens = torch.cat([offset, self.vis_in_lnorm(seen), between, self.aud_in_lnorm(heard)], 1)
        tokens = self.pos_emb_cfg(tokens)
        for block in self.blocks:
            tokens = block(tokens)
        logits: Tensor = self.off_head(self.ln_f(tokens[:, 0]))
        return logits
