"""The layers of the diffusion transformer.

Shape letters: B batch, N tokens, M tokens attended to, H heads, E width of a head, D width, C channels.

Source: the published PrismAudio transformer, ``PrismAudio/models/transformer.py`` at 86eed40, from its specification.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

ROTARY_MIN_DIMS = 32
ROTARY_BASE = 10_000.0


class RotaryEmbedding(nn.Module):
    """Rotates the first ``max(head_width / 2, 32)`` dimensions of queries and keys by their position.

    Args:
        head_width: Width of an attention head, at least 32.
    """

    rates: Tensor

    def __init__(self, head_width: int) -> None:
        super().__init__()
        if head_width < ROTARY_MIN_DIMS:
            raise ValueError(f"a head is {head_width} wide; rotary positions need at least {ROTARY_MIN_DIMS}")
        self.dims = max(head_width // 2, ROTARY_MIN_DIMS)
        rates = ROTARY_BASE ** -(torch.arange(0, self.dims, 2).float() / self.dims)
        self.register_buffer("rates", rates, persistent=False)

    def forward(self, n_tokens: int) -> tuple[Tensor, Tensor]:
        """Cosines and sines ``(tokens, dims)`` of positions 0 .. ``n_tokens`` - 1."""
        angles = torch.arange(n_tokens, device=self.rates.device).float()[:, None] * self.rates
        angles = torch.cat([angles, angles], -1)
        return angles.cos(), angles.sin()


def rotate(x_BHNE: Tensor, rotary: tuple[Tensor, Tensor]) -> Tensor:
    """Apply rotary positions in float32; dimensions beyond the rotated ones pass through."""
    cosine, sine = rotary
    turned, kept = x_BHNE.float().split([cosine.shape[-1], x_BHNE.shape[-1] - cosine.shape[-1]], -1)
    first, second = turned.chunk(2, -1)
    turned = turned * cosine + torch.cat([-second, first], -1) * sine
    return torch.cat([turned, kept], -1).to(x_BHNE.dtype)


class Attention(nn.Module):
    """Multi-head attention with normalised queries and keys, to itself or to other tokens.

    Args:
        width: Width of the tokens.
        heads: Number of heads; divides ``width``.
        cross: Attend to other tokens instead of to itself.
    """

    def __init__(self, width: int, heads: int, *, cross: bool = False) -> None:
        super().__init__()
        head_width = width // heads
        self.heads = heads
        if cross:
            self.to_q = nn.Linear(width, width, bias=False)
            self.to_kv = nn.Linear(width, 2 * width, bias=False)
        else:
            self.to_qkv = nn.Linear(width, 3 * width, bias=False)
        # float32's epsilon whatever the precision, as the published model has it
        self.q_norm = nn.RMSNorm(head_width, eps=torch.finfo(torch.float32).eps)
        self.k_norm = nn.RMSNorm(head_width, eps=torch.finfo(torch.float32).eps)
        self.to_out = nn.Linear(width, width, bias=False)
        nn.init.zeros_(self.to_out.weight)

    def forward(
        self,
        x_BND: Tensor,
        context_BMD: Tensor | None = None,
        mask_BM: Tensor | None = None,
        rotary: tuple[Tensor, Tensor] | None = None,
    ) -> Tensor:
        """Attend.

        Args:
            x_BND: Tokens.
            context_BMD: Tokens to attend to; None for itself.
            mask_BM: True where a context token is real. A sample without any attends to all of its (zero) tokens.
            rotary: Positions of the tokens, for attention to itself.
        """
        if context_BMD is None:
            q, k, v = self.to_qkv(x_BND).chunk(3, -1)
        else:
            q, (k, v) = self.to_q(x_BND), self.to_kv(context_BMD).chunk(2, -1)
        q, k, v = (y.unflatten(-1, (self.heads, -1)).transpose(1, 2) for y in (q, k, v))
        q, k = self.q_norm(q), self.k_norm(k)
        if rotary is not None:
            q, k = rotate(q, rotary), rotate(k, rotary)
        mask = None
        if mask_BM is not None:
            mask = (mask_BM | ~mask_BM.any(-1, keepdim=True))[:, None, None]
        out = F.scaled_dot_product_attention(q, k.to(q.dtype), v.to(q.dtype), attn_mask=mask)
        return self.to_out(out.transpose(1, 2).flatten(-2))


class FeedForward(nn.Module):
    """Gated feed-forward: (first half of a projection) times SiLU(second half), projected back.

    Args:
        width: Width of the tokens.
        expansion: Inner width over ``width``.
    """

    def __init__(self, width: int, expansion: int = 4) -> None:
        super().__init__()
        self.project_in = nn.Linear(width, 2 * expansion * width)
        self.project_out = nn.Linear(expansion * width, width)
        nn.init.zeros_(self.project_out.weight)
        nn.init.zeros_(self.project_out.bias)

    def forward(self, x_BND: Tensor) -> Tensor:
        """Apply to each token."""
        value, gate = self.project_in(x_BND).chunk(2, -1)
        return self.project_out(value * F.silu(gate))


class Block(nn.Module):
    """Pre-norm block: attention to itself, attention to the conditions, feed-forward.

    Args:
        width: Width of the tokens.
        heads: Number of heads.
        expansion: Inner width of the feed-forward over ``width``.
    """

    def __init__(self, width: int, heads: int, expansion: int = 4) -> None:
        super().__init__()
        self.self_norm = nn.LayerNorm(width, bias=False)
        self.self_attention = Attention(width, heads)
        self.cross_norm = nn.LayerNorm(width, bias=False)
        self.cross_attention = Attention(width, heads, cross=True)
        self.feed_norm = nn.LayerNorm(width, bias=False)
        self.feed_forward = FeedForward(width, expansion)

    def forward(
        self, x_BND: Tensor, context_BMD: Tensor | None, mask_BM: Tensor | None, rotary: tuple[Tensor, Tensor]
    ) -> Tensor:
        """Apply to the tokens of the whole clip."""
        x_BND = x_BND + self.self_attention(self.self_norm(x_BND), rotary=rotary)
        if context_BMD is not None:
            x_BND = x_BND + self.cross_attention(self.cross_norm(x_BND), context_BMD, mask_BM)
        return x_BND + self.feed_forward(self.feed_norm(x_BND))


class TimeEmbedding(nn.Module):
    """Fourier features of the flow time with learned frequencies, and a two-layer perceptron.

    Args:
        width: Width of the embedding.
        features: Number of Fourier features, cosines and sines together.
    """

    def __init__(self, width: int, features: int = 256) -> None:
        super().__init__()
        self.frequencies = nn.Parameter(torch.randn(features // 2))
        self.mlp = nn.Sequential(nn.Linear(features, width), nn.SiLU(), nn.Linear(width, width))

    def forward(self, times_B: Tensor) -> Tensor:
        """Embeddings ``(batch, width)`` of times in 0 .. 1."""
        angles = 2 * math.pi * times_B[:, None].float() * self.frequencies
        return self.mlp(torch.cat([angles.cos(), angles.sin()], -1).to(self.frequencies.dtype))
