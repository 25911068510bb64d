"""Layers of the diffusion transformer.

Shape letters: B batch, N tokens, M tokens attended to, H heads, E dim of a head, D dim, C channels.

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
    """Rotates the first ``max(head_dim / 2, 32)`` dimensions of queries and keys by their position.

    Args:
        head_dim: Dim of an attention head, at least 32.
    """

    rates: Tensor

    def __init__(self, head_dim: int) -> None:
        super().__init__()
        if head_dim < ROTARY_MIN_DIMS:
            raise ValueError(f"head dim is {head_dim}; rotary embeddings need at least {ROTARY_MIN_DIMS}")
        self.dims = max(head_dim // 2, ROTARY_MIN_DIMS)
        self.register_buffer("rates", self.rates_of(self.dims), persistent=False)

    @staticmethod
    def rates_of(dims: int) -> Tensor:
        """Return the rotation rates ``(dims / 2,)`` in radians per position."""
        return ROTARY_BASE ** -(torch.arange(0, dims, 2).float() / dims)

    def forward(self, n_tokens: int) -> tuple[Tensor, Tensor]:
        """Return factors ``(tokens, dims)`` of positions 0 .. ``n_tokens`` - 1 for :func:`rotate`.

        The first are cosines; the others are sines, negative in the first half of the dimensions.
        """
        angles = torch.arange(n_tokens, device=self.rates.device).float()[:, None] * self.rates
        cosine, sine = angles.cos(), angles.sin()
        return torch.cat([cosine, cosine], -1), torch.cat([-sine, sine], -1)


def rotate(x_BHNE: Tensor, rotary: tuple[Tensor, Tensor]) -> Tensor:
    """Apply the rotary embedding in float32; dimensions beyond the rotated ones are unchanged.

    Args:
        x_BHNE: Queries or keys; further dimensions may come first.
        rotary: What :class:`RotaryEmbedding` returns for the number of tokens.
    """
    cosine, sine = rotary
    dims = cosine.shape[-1]
    turned = x_BHNE[..., :dims].float()
    turned = turned * cosine + turned.roll(dims // 2, -1) * sine
    return torch.cat([turned.to(x_BHNE.dtype), x_BHNE[..., dims:]], -1)


class HeadNorm(nn.RMSNorm):
    """RMS normalisation of the queries or keys of each head, in the precision of the input.

    Args:
        head_dim: Dim of a head.
    """

    def __init__(self, head_dim: int) -> None:
        # the epsilon of float32 in every precision, as in the published model
        super().__init__(head_dim, eps=torch.finfo(torch.float32).eps)

    def forward(self, x_BHNE: Tensor) -> Tensor:
        """Normalise the last dimension."""
        return F.rms_norm(x_BHNE, self.normalized_shape, self.weight.to(x_BHNE.dtype), self.eps)


class SelfAttention(nn.Module):
    """Multi-head self-attention with normalised queries and keys and rotary embeddings.

    Args:
        dim: Dim of the tokens.
        num_heads: Number of heads; divides ``dim``.
    """

    def __init__(self, dim: int, num_heads: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.to_qkv = nn.Linear(dim, 3 * dim, bias=False)
        self.q_norm, self.k_norm = HeadNorm(dim // num_heads), HeadNorm(dim // num_heads)
        self.to_out = nn.Linear(dim, dim, bias=False)
        nn.init.zeros_(self.to_out.weight)

    def forward(self, x_BND: Tensor, rotary: tuple[Tensor, Tensor], mask: Tensor | None = None) -> Tensor:
        """Apply self-attention.

        Args:
            x_BND: Tokens.
            rotary: Factors of their positions, see :class:`RotaryEmbedding`.
            mask: 0 where a token is real, minus infinity where not, ``(batch, 1, 1, tokens)``; None if all are real.
        """
        q, k, v = (split_heads(y, self.num_heads) for y in self.to_qkv(x_BND).chunk(3, -1))
        q, k = rotate(torch.stack([self.q_norm(q), self.k_norm(k)]), rotary)  # together: half as many kernels
        return self.to_out(join_heads(F.scaled_dot_product_attention(q, k, v, attn_mask=mask)))


class CrossAttention(nn.Module):
    """Multi-head cross-attention to a context, with normalised queries and keys.

    Args:
        dim: Dim of the tokens.
        num_heads: Number of heads; divides ``dim``.
        context_dim: Dim of the context tokens; if less than ``dim``, heads share keys and values.
    """

    def __init__(self, dim: int, num_heads: int, context_dim: int) -> None:
        super().__init__()
        self.num_heads, self.context_heads = num_heads, context_dim // (dim // num_heads)
        self.to_q = nn.Linear(dim, dim, bias=False)
        self.to_kv = nn.Linear(context_dim, 2 * context_dim, bias=False)
        self.q_norm, self.k_norm = HeadNorm(dim // num_heads), HeadNorm(dim // num_heads)
        self.to_out = nn.Linear(dim, dim, bias=False)
        nn.init.zeros_(self.to_out.weight)

    def keys_and_values(self, context_BMD: Tensor) -> tuple[Tensor, Tensor]:
        """Compute keys and values ``(batch, heads, tokens, head dim)`` of a context, constant over all steps."""
        k, v = (split_heads(y, self.context_heads) for y in self.to_kv(context_BMD).chunk(2, -1))
        k, share = self.k_norm(k), self.num_heads // self.context_heads
        return (k, v) if share == 1 else (k.repeat_interleave(share, 1), v.repeat_interleave(share, 1))

    def forward(self, x_BND: Tensor, context: tuple[Tensor, Tensor], mask: Tensor | None = None) -> Tensor:
        """Apply cross-attention.

        Args:
            x_BND: Tokens.
            context: Keys and values of the context.
            mask: 0 where a context token is real, minus infinity where not, ``(batch, 1, 1, tokens)``; None if all are
                real.
        """
        q, (k, v) = self.q_norm(split_heads(self.to_q(x_BND), self.num_heads)), context
        out = F.scaled_dot_product_attention(q, k.to(q.dtype), v.to(q.dtype), attn_mask=mask)
        return self.to_out(join_heads(out))


def split_heads(x_BND: Tensor, num_heads: int) -> Tensor:
    """Reshape ``(batch, tokens, dim)`` to ``(batch, heads, tokens, head dim)``."""
    return x_BND.unflatten(-1, (num_heads, -1)).transpose(1, 2)


def join_heads(x_BHNE: Tensor) -> Tensor:
    """Invert :func:`split_heads`."""
    return x_BHNE.transpose(1, 2).flatten(-2)


class FeedForward(nn.Module):
    """Gated feed-forward layer: (first half of a projection) times SiLU(second half), projected back.

    Args:
        dim: Dim of the tokens.
        expansion: Inner dim as a multiple of ``dim``.
    """

    def __init__(self, dim: int, expansion: int = 4) -> None:
        super().__init__()
        self.project_in = nn.Linear(dim, 2 * expansion * dim)
        self.project_out = nn.Linear(expansion * dim, dim)
        nn.init.zeros_(self.project_out.weight)
        nn.init.zeros_(self.project_out.bias)

    def forward(self, x_BND: Tensor) -> Tensor:
        """Apply the layer to each token."""
        value, gate = self.project_in(x_BND).chunk(2, -1)
        return self.project_out(value * F.silu(gate))


class Block(nn.Module):
    """Pre-norm transformer block: self-attention, cross-attention to the conditions, feed-forward.

    Args:
        dim: Dim of the tokens.
        num_heads: Number of heads.
        expansion: Inner dim of the feed-forward layer, as a multiple of ``dim``.
        context_dim: Dim of the cross-attended tokens; None for ``dim``.
    """

    def __init__(self, dim: int, num_heads: int, expansion: int = 4, context_dim: int | None = None) -> None:
        super().__init__()
        self.self_norm = nn.LayerNorm(dim, bias=False)
        self.self_attention = SelfAttention(dim, num_heads)
        self.cross_norm = nn.LayerNorm(dim, bias=False)
        self.cross_attention = CrossAttention(dim, num_heads, context_dim or dim)
        self.feed_norm = nn.LayerNorm(dim, bias=False)
        self.feed_forward = FeedForward(dim, expansion)

    def forward(
        self,
        x_BND: Tensor,
        rotary: tuple[Tensor, Tensor],
        mask: Tensor | None = None,
        context: tuple[Tensor, Tensor] | None = None,
        context_mask: Tensor | None = None,
    ) -> Tensor:
        """Apply the block.

        Args:
            x_BND: Tokens of the whole clip.
            rotary: Factors of their positions, see :class:`RotaryEmbedding`.
            mask: 0 where a token is real, minus infinity where not, ``(batch, 1, 1, tokens)``; None if all are real.
            context: Keys and values from this block's :class:`CrossAttention`; None to skip cross-attention.
            context_mask: The same of the context tokens, ``(batch, 1, 1, context tokens)``; None if all are real.
        """
        x_BND = x_BND + self.self_attention(self.self_norm(x_BND), rotary, mask)
        if context is not None:
            x_BND = x_BND + self.cross_attention(self.cross_norm(x_BND), context, context_mask)
        return x_BND + self.feed_forward(self.feed_norm(x_BND))


class TimeEmbedding(nn.Module):
    """Embeds the flow time: Fourier features with learned frequencies, then a two-layer perceptron.

    Args:
        dim: Dim of the embedding.
        features: Number of Fourier features, cosines and sines together.
    """

    def __init__(self, dim: int, features: int = 256) -> None:
        super().__init__()
        self.frequencies = nn.Parameter(torch.randn(features // 2))
        self.mlp = nn.Sequential(nn.Linear(features, dim), nn.SiLU(), nn.Linear(dim, dim))

    def forward(self, times_B: Tensor) -> Tensor:
        """Return embeddings ``(batch, dim)`` of times in 0 .. 1."""
        angles = 2 * math.pi * times_B[:, None].float() * self.frequencies
        return self.mlp(torch.cat([angles.cos(), angles.sin()], -1).to(self.frequencies.dtype))
