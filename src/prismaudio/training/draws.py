"""What training draws at random for a sample, from nothing but the seed, the step and the sample's name.

So a run that is stopped and resumed draws the same, and so do one process with a large batch and many with small ones.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from prismaudio.flow.randomness import generator
from prismaudio.types import STREAMS

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from torch import Tensor


@dataclass(frozen=True, eq=False)
class Draws:
    """Random numbers of a batch.

    Args:
        noise: Standard normal noise ``(batch, channels, frames)``, zero where a frame is not real.
        times: Flow times ``(batch,)``.
        swap: Uniform numbers ``(batch,)`` that decide whose video a sample sees.
        drop_all: Uniform numbers ``(batch,)`` that decide whether it loses all conditions.
        drop_each: For each stream, uniform numbers ``(batch,)`` that decide whether it loses that one.
    """

    noise: Tensor
    times: Tensor
    swap: Tensor
    drop_all: Tensor
    drop_each: dict[str, Tensor]


def draw(
    ids: Sequence[str],
    seed: int,
    step: int,
    data: Tensor,
    mask: Tensor,
    sample_times: Callable[[int, torch.Generator], Tensor],
) -> Draws:
    """Draw for a batch.

    Args:
        ids: Names of the samples.
        seed: Seed of the run.
        step: Optimiser steps made so far.
        data: Latents ``(batch, channels, frames)`` that the noise is for; the result is on their device.
        mask: True where a frame is real, ``(batch, frames)``; real frames come first.
        sample_times: Draws so many flow times.
    """
    chances = torch.empty(len(ids), 2 + len(STREAMS))
    times = torch.empty(len(ids))
    noise = torch.zeros(data.shape)
    for row, (name, length) in enumerate(zip(ids, mask.sum(1).tolist(), strict=True)):
        source = generator(seed, step, name)
        chances[row] = torch.rand(chances.shape[1], generator=source)
        times[row] = sample_times(1, source)[0]
        noise[row, :, :length] = torch.randn(data.shape[1], length, generator=source)
    swap, lost_all, *lost = chances.to(data.device).unbind(1)
    moved = noise.to(data.device, data.dtype), times.to(data.device)
    return Draws(*moved, swap, lost_all, dict(zip(STREAMS, lost, strict=True)))
