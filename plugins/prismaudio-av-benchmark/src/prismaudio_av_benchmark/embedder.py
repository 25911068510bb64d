"""The contract of a network that embeds audio, and what its networks share."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections import OrderedDict
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from prismaudio.checkpoints import SkipInitialization
from prismaudio.weight_files import fill, read_weights

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

KEPT = 4
"""Sounds whose features a network keeps, because several metrics ask for the same ones."""


class AudioEmbedder(nn.Module, ABC):
    """A network that embeds audio for several metrics, which share it.

    Attributes:
        dim: Dimension of the embeddings.
    """

    dim: int

    def __init__(self) -> None:
        super().__init__()
        self._last: OrderedDict[object, dict[str, Tensor]] = OrderedDict()

    @torch.no_grad()
    def embed(self, audio: Tensor, sample_rate_hz: int, length_s: float | None = None) -> dict[str, Tensor]:
        """Features by name, on the CPU; those of the last sounds are not computed again.

        Args:
            audio: Audio ``(channels, samples)``.
            sample_rate_hz: Its sample rate.
            length_s: How much of it is embedded, in seconds from the start; None for all.
        """
        on = next(self.parameters()).device
        content = hashlib.blake2b(audio.contiguous().cpu().numpy().data, digest_size=16).digest()
        key = content, tuple(audio.shape), sample_rate_hz, length_s, on
        if key not in self._last:
            found = self.compute(audio.to(on), sample_rate_hz, length_s)
            self._last[key] = {name: value.cpu() for name, value in found.items()}
            if len(self._last) > KEPT:
                self._last.popitem(last=False)
        self._last.move_to_end(key)
        return self._last[key]

    @abstractmethod
    def compute(self, audio: Tensor, sample_rate_hz: int, length_s: float | None = None) -> dict[str, Tensor]:
        """Features by name of audio ``(channels, samples)`` on the device of the network; see :meth:`embed`."""


class Block(nn.Module):
    """A transformer block that normalises before attention and before its MLP.

    Args:
        dim: Width.
        num_heads: Number of heads.
        bias_kv: Whether attention has an additional learned key and value.
    """

    def __init__(self, dim: int, num_heads: int, *, bias_kv: bool = False) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(dim, eps=1e-6)
        self.attn = nn.MultiheadAttention(dim, num_heads, add_bias_kv=bias_kv, batch_first=True)
        self.norm2 = nn.LayerNorm(dim, eps=1e-6)
        self.mlp = nn.ModuleDict({"fc1": nn.Linear(dim, 4 * dim), "fc2": nn.Linear(4 * dim, dim)})

    def forward(self, tokens: Tensor) -> Tensor:
        """Tokens ``(batch, tokens, dim)``."""
        normed = self.norm1(tokens)
        tokens = tokens + self.attn(normed, normed, normed, need_weights=False)[0]
        return tokens + self.mlp["fc2"](nn.functional.gelu(self.mlp["fc1"](self.norm2(tokens))))


def load(
    path: Path, make: Callable[[], nn.Module], rename: Callable[[Mapping[str, Tensor]], dict[str, Tensor]]
) -> nn.Module:
    """A network with the weights of a published file.

    Args:
        path: The file.
        make: Makes the network.
        rename: Gives published weights the names of the network, and leaves out what it does not use.

    Raises:
        CheckpointError: The weights cannot be read, or are those of another network.
    """
    with SkipInitialization():
        network = make()
    fill(network, rename(read_weights(path)), path)
    return network
