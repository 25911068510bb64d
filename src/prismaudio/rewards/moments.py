"""Assigns moments of a clip to the sources of its story."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from prismaudio.plan.story import RINGING_S

if TYPE_CHECKING:
    from collections.abc import Sequence

    from prismaudio.plan.story import Source


def latest_source(sources: Sequence[Source], times_s: Tensor, reach_s: float) -> tuple[Tensor, Tensor]:
    """The source that each moment belongs to: the one with the latest onset.

    Args:
        sources: Sources with times.
        times_s: Centers of the moments ``(n,)``.
        reach_s: Half the length of a moment.

    Returns:
        Index of the source ``(n,)``, and whether no other source is active ``(n,)``.

    Example:
        >>> from prismaudio.plan.story import Source
        >>> dog, cat = Source("dog", (1.0,)), Source("cat", (2.0,))
        >>> [x.tolist() for x in latest_source([dog, cat], torch.tensor([0.5, 1.5, 2.1, 3.0]), 0.04)]
        [[0, 0, 1, 1], [True, True, True, True]]
    """
    begun = torch.stack([_last_onset(source, times_s + reach_s) for source in sources])
    earliest = min(range(len(sources)), key=lambda k: sources[k].onsets_s[0])
    owner = torch.where(begun.amax(0) == -math.inf, earliest, begun.argmax(0))
    active = torch.stack([_is_active(source, times_s - reach_s, times_s + reach_s) for source in sources])
    others = active & (torch.arange(len(sources))[:, None] != owner)
    return owner, ~others.any(0)


def _last_onset(source: Source, times_s: Tensor) -> Tensor:
    onsets_s = torch.tensor(source.onsets_s)[:, None]
    return torch.where(onsets_s <= times_s, onsets_s, -math.inf).amax(0)


def _is_active(source: Source, start_s: Tensor, stop_s: Tensor) -> Tensor:
    """Whether a source is active between ``start_s`` and ``stop_s``."""
    onsets_s = torch.tensor(source.onsets_s)[:, None]
    active = ((onsets_s > start_s - RINGING_S) & (onsets_s < stop_s)).any(0)
    if source.end_s is not None:
        active |= (source.onsets_s[0] < stop_s) & (start_s < source.end_s)
    return active
