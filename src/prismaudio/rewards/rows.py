"""Batching for rewards: padded caches of several clips, and computation in chunks of rows."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from prismaudio.rewards.base import Cache

CHUNK_ROWS = {"cpu": 4, "cuda": 32}
"""Rows that are scored together: their spectra fit into the cache of a CPU, and keep a GPU busy."""


def pad_caches(caches: Sequence[Cache], *names: str, device: torch.device) -> list[Tensor]:
    """Tensors ``(n, ...)`` of every cache, zero-padded to ``(batch, max n, ...)``.

    Example:
        >>> a, b = {"times_s": torch.ones(2)}, {"times_s": torch.ones(1)}
        >>> pad_caches([a, b, a], "times_s", device=torch.device("cpu"))
        [tensor([[1., 1.],
                [1., 0.],
                [1., 1.]])]
    """
    indices: dict[int, int] = {}
    rows = torch.tensor([indices.setdefault(id(cache), len(indices)) for cache in caches])
    distinct = list({id(cache): cache for cache in caches}.values())
    return [pad_sequence([cache[name] for cache in distinct], batch_first=True)[rows].to(device) for name in names]


def chunk_rows(device: torch.device) -> int:
    """Rows that are scored together on a device."""
    return CHUNK_ROWS.get(device.type, CHUNK_ROWS["cpu"])


def map_in_chunks(function: Callable[..., Tensor], *rows: Tensor) -> Tensor:
    """Apply a function to tensors ``(batch, ...)`` in chunks of some rows, see :func:`chunk_rows`."""
    size = chunk_rows(rows[0].device)
    return torch.cat([function(*chunk) for chunk in zip(*(tensor.split(size) for tensor in rows), strict=True)])
