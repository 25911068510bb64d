"""The diffusion transformer, for the published model and for smaller ones."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Self, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from prismaudio.checkpoints import Configured, within
from prismaudio.models.conditioners import Conditioner, FeatureConditioner, SyncConditioner, bias_free_mlp, to_length
from prismaudio.models.layers import Block, RotaryEmbedding, TimeEmbedding
from prismaudio.types import LATENTS, Conditions, Features, is_stream

MAX_DIM = 2**20
"""Upper limit of dims, depth and number of heads."""


@dataclass(frozen=True, eq=False)
class ConditioningCache:
    """What a trajectory's conditions come to, computed once for all of its steps.

    Args:
        rotary: Factors of the positions, ``(1 + frames, rotated dim)`` each, see :class:`RotaryEmbedding`.
        added: Sum of the gated streams, ``(batch, frames, dim)``; None when there are none.
        contexts: Keys and values of each block, ``(batch, heads, tokens, head dim)``; None when nothing is attended.
        context_mask: 0 where a context token is real, minus infinity where not, ``(batch, 1, 1, tokens)``.
        mask: 0 for the time token and real frames, minus infinity for others, ``(batch, 1, 1, 1 + frames)``; None where
            all frames are real.
    """

    rotary: tuple[Tensor, Tensor]
    added: Tensor | None = None
    contexts: tuple[tuple[Tensor, Tensor], ...] | None = None
    context_mask: Tensor | None = None
    mask: Tensor | None = None

    def first(self, count: int) -> ConditioningCache:
        """That of the first samples of the batch."""
        contexts = None if self.contexts is None else tuple((k[:count], v[:count]) for k, v in self.contexts)
        added, context_mask, mask = (
            None if x is None else x[:count] for x in (self.added, self.context_mask, self.mask)
        )
        return ConditioningCache(self.rotary, added, contexts, context_mask, mask)


def published_streams(
    dim: int = 1024, sizes: Mapping[str, tuple[int, int]] = MappingProxyType({})
) -> dict[str, Conditioner]:
    """Create the streams of the published model: video and text cross-attended, video and synchronisation additive.

    Args:
        dim: Dim of the transformer and of the tokens.
        sizes: Feature dim and token dim, by stream, where they differ from the published ones.
    """
    video, sync, text = (
        sizes.get(name, (usual, dim)) for name, usual in (("video", 1024), ("sync", 768), ("text", 1024))
    )
    return {
        "video": FeatureConditioner(*video, cross_attended=True, additive=True, gate=1.0),
        "sync": SyncConditioner(*sync, additive=True),
        "text": FeatureConditioner(*text, cross_attended=True),
    }


class DiffusionTransformer(Configured, nn.Module):
    """Predicts the velocity of stereo latents, conditioned on any number of feature streams.

    A time token is prepended to the latents; additive streams are added to the latents through a learned gate; the
    blocks attend to the tokens of cross-attended streams. A stream that is missing from the conditions counts as empty.

    Args:
        latent_channels: Channels of the latents.
        dim: Dim of the tokens.
        depth: Number of blocks.
        num_heads: Number of attention heads; ``dim / num_heads`` is at least 32.
        streams: The conditioner of each stream, by stream name; None for the streams of the published model.
        sigma_data: Standard deviation of the latents, used to precondition input and output so that the network
            receives and predicts values of unit variance at every time; None for a network that predicts the velocity.
        expansion: Inner dim of the feed-forward layers, as a multiple of ``dim``.
        context_dim: Dim of the cross-attended context, a multiple of the head dim; None for ``dim``.

    Source:
        ``PrismAudio/models/dit.py`` at 86eed40, from its specification. Changed: masks are applied, streams are
        interpolated to the latent length, and the set of streams is configurable. Preconditioning: Karras et al. 2022,
        table 1, rewritten for the straight path.

    Example:
        >>> flow = FeatureConditioner(12, 64, additive=True)
        >>> network = DiffusionTransformer(8, 64, 1, 2, {"flow": flow})
        >>> conditions = Conditions(flow=Features.pad([torch.randn(5, 12)]))
        >>> network(torch.randn(1, 8, 20), torch.rand(1), conditions).shape
        torch.Size([1, 8, 20])
    """

    def __init__(
        self,
        latent_channels: int = 64,
        dim: int = 1024,
        depth: int = 24,
        num_heads: int = 16,
        streams: dict[str, Conditioner] | None = None,
        sigma_data: float | None = None,
        expansion: int = 4,
        context_dim: int | None = None,
    ) -> None:
        super().__init__()
        within(
            1, MAX_DIM, latent_channels=latent_channels, dim=dim, depth=depth, num_heads=num_heads, expansion=expansion
        )
        within(1, MAX_DIM, context_dim=context_dim)
        within(1e-6, 1e6, sigma_data=sigma_data)
        if dim % num_heads:
            raise ValueError(f"dim {dim} is not divisible by {num_heads} heads; expected a multiple of num_heads")
        streams = published_streams(dim) if streams is None else streams
        check_names(streams)
        self.latent_channels = latent_channels
        self.attended = tuple(name for name, conditioner in streams.items() if conditioner.cross_attended)
        self.added = tuple(name for name, conditioner in streams.items() if conditioner.additive)
        self.sigma_data = sigma_data
        self.conditioners = nn.ModuleDict(streams)
        context_dim = context_dim or dim
        token_dims = {streams[name].token_dim for name in self.attended} or {dim}
        if len(token_dims) > 1 or dim % context_dim or context_dim % (dim // num_heads):
            raise ValueError(
                f"tokens of dims {sorted(token_dims)} cannot be attended to in a context of dim {context_dim}; "
                f"expected one token dim, and a context dim that divides {dim} and is a multiple of {dim // num_heads}"
            )
        self.to_context = bias_free_mlp(token_dims.pop(), context_dim)
        self.to_added = nn.ModuleDict({name: bias_free_mlp(streams[name].token_dim, dim) for name in self.added})
        self.gates = nn.ParameterDict(
            {name: nn.Parameter(torch.full((dim,), streams[name].gate)) for name in self.added}
        )
        self.time_embedding = TimeEmbedding(dim)
        self.pre = nn.Conv1d(latent_channels, latent_channels, 1, bias=False)
        self.post = nn.Conv1d(latent_channels, latent_channels, 1, bias=False)
        nn.init.zeros_(self.pre.weight)
        nn.init.zeros_(self.post.weight)
        self.project_in = nn.Linear(latent_channels, dim, bias=False)
        self.project_out = nn.Linear(dim, latent_channels, bias=False)
        self.rotary = RotaryEmbedding(dim // num_heads)
        self.blocks = nn.ModuleList(Block(dim, num_heads, expansion, context_dim) for _ in range(depth))

    @property
    def streams(self) -> dict[str, Conditioner]:
        """The conditioner of each stream."""
        return {name: cast("Conditioner", conditioner) for name, conditioner in self.conditioners.items()}

    def in_precision(self, dtype: torch.dtype) -> Self:
        """Cast the weights to a precision in place; rotary and time embeddings stay in float32."""
        for name, module in self.named_children():
            if name not in ("rotary", "time_embedding"):
                module.to(dtype)
        return self

    def cache_conditions(self, conditions: Conditions, n_frames: int, mask: Tensor | None = None) -> ConditioningCache:
        """Precompute everything that depends on the conditions only, for latents of ``n_frames`` frames.

        Args:
            conditions: The conditions.
            n_frames: Number of latent frames, padding included.
            mask: True where a frame is real, bool ``(batch, n_frames)``, real frames first; None if all are real.
        """
        tokens = self.tokens(conditions)
        attended = [tokens[name] for name in self.attended if name in tokens]
        return self.cache_tokens(
            attended, {name: tokens[name] for name in self.added if name in tokens}, n_frames, mask
        )

    def tokens(self, conditions: Conditions) -> dict[str, Features]:
        """Compute the tokens of every stream that has features."""
        tokens = {}
        for name, conditioner in self.streams.items():
            if name in conditions and conditions[name].values.shape[1]:
                tokens[name] = conditioner.tokens(conditions[name])
        return tokens

    def cache_tokens(
        self,
        attended: Sequence[Features],
        added: Mapping[str, Features],
        n_frames: int,
        mask: Tensor | None = None,
    ) -> ConditioningCache:
        """Precompute from tokens: those that the blocks attend to, and those added to the latents, by stream."""
        real = None if mask is None else self._additive(F.pad(mask, (1, 0), value=True))
        terms = [torch.sigmoid(self.gates[name]) * self._in_time(name, added[name], n_frames, mask) for name in added]
        total = functools.reduce(torch.add, terms) if terms else None
        rotary = self.rotary(1 + n_frames)
        if not attended:
            return ConditioningCache(rotary, total, mask=real)
        context = self.to_context(torch.cat([stream.values for stream in attended], 1))
        context_mask = torch.cat([stream.mask for stream in attended], 1)
        context_mask = context_mask | ~context_mask.any(1, keepdim=True)  # samples without conditions attend to zeros
        contexts = tuple(cast("Block", block).cross_attention.keys_and_values(context) for block in self.blocks)
        return ConditioningCache(rotary, total, contexts, self._additive(context_mask), real)

    def _additive(self, mask: Tensor) -> Tensor:
        """A mask ``(batch, tokens)`` as attention adds it, converted once instead of in each block."""
        return torch.zeros_like(mask, dtype=self.pre.weight.dtype).masked_fill_(~mask, -torch.inf)[:, None, None]

    def _in_time(self, name: str, tokens: Features, n_frames: int, mask: Tensor | None) -> Tensor:
        """Project the tokens of an additive stream and interpolate them to the latent frames."""
        if self.streams[name].resampled_first:
            return self.to_added[name](to_length(tokens, n_frames, mask))
        return to_length(Features(self.to_added[name](tokens.values), tokens.mask), n_frames, mask)

    def forward(
        self, latents: Tensor, times: Tensor, conditions: Conditions | ConditioningCache, mask: Tensor | None = None
    ) -> Tensor:
        """Predict the velocity ``(batch, channels, frames)``, defined as noise minus data.

        Args:
            latents: Noisy latents ``(batch, channels, frames)``.
            times: Flow times ``(batch,)``; 1 is noise, 0 is data.
            conditions: The conditions, or their precomputed form from :meth:`cache_conditions`.
            mask: True where a frame is real, bool ``(batch, frames)``, real frames first; None if all are real. Padding
                has no effect on real frames. Ignored if ``conditions`` is precomputed, which includes a mask.
        """
        cache = (
            conditions
            if isinstance(conditions, ConditioningCache)
            else self.cache_conditions(conditions, latents.shape[-1], mask)
        )
        if self.sigma_data is None:
            return self._network(latents, times, cache)
        t, variance = times[:, None, None].to(latents.dtype), self.sigma_data**2
        power = (1 - t).square() * variance + t.square()
        known = (t - (1 - t) * variance) / power * latents
        return known - self.sigma_data * power.rsqrt() * self._network(latents * power.rsqrt(), times, cache)

    def _network(self, latents: Tensor, times: Tensor, cache: ConditioningCache) -> Tensor:
        """Apply the transformer, in the precision of its weights."""
        own = latents.to(self.pre.weight.dtype)
        hidden = self.project_in((self.pre(own) + own).transpose(1, 2))
        if cache.added is not None:
            hidden = hidden + cache.added
        hidden = torch.cat([self.time_embedding(times)[:, None].to(hidden.dtype), hidden], 1)
        for i, block in enumerate(self.blocks):
            context = None if cache.contexts is None else cache.contexts[i]
            hidden = block(hidden, cache.rotary, cache.mask, context, cache.context_mask)
        out = self.project_out(hidden[:, 1:]).transpose(1, 2)
        return (self.post(out) + out).to(latents.dtype)


def check_names(streams: Mapping[str, Conditioner]) -> None:
    """Check that stream names are valid in file names and in weight keys.

    Raises:
        ValueError: A name is not a lower-case word, or is the name of the latents.
    """
    for name in streams:
        if not is_stream(name) or hasattr(nn.ModuleDict, name):
            raise ValueError(f"{name!r} cannot be a stream; expected one lower-case word, and not {LATENTS!r}")
