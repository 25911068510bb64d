"""What the rewards of the core share: caches of several clips side by side, and rows taken a few at a time."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from prismaudio.rewards.base import Cache

CHUNK_ROWS = 4
"""Rows that are judged together: their spectra still fit into the cache of a processor."""


def pad_caches(caches: Sequence[Cache], *names: str, device: torch.device) -> list[Tensor]:
    """Tensors ``(n, ...)`` of every cache, as ``(batch, longest n, ...)`` with zeros at the end.

    Example:
        >>> a, b = {"times_s": torch.ones(2)}, {"times_s": torch.ones(1)}
        >>> pad_caches([a, b, a], "times_s", device=torch.device("cpu"))
        [tensor([[1., 1.],
                [1., 0.],
                [1., 1.]])]
    """
    places: dict[int, int] = {}
    rows = torch.tensor([places.setdefault(id(cache), len(places)) for cache in caches])
    distinct = list({id(cache): cache for cache in caches}.values())
    return [pad_sequence([cache[name] for cache in distinct], batch_first=True)[rows].to(device) for name in names]


def map_in_chunks(judge: Callable[..., Tensor], *rows: Tensor) -> Tensor:
    """What ``judge`` says of tensors ``(batch, ...)``, a few rows at a time."""
    return torch.cat([judge(*few) for few in zip(*(tensor.split(CHUNK_ROWS) for tensor in rows), strict=True)])
