"""What training draws at random for a sample, from nothing but the seed, the step and the sample's name.

So a run that is stopped and resumed draws the same, and so do one process with a large batch and many with small ones.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from prismaudio.flow.randomness import generator

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from torch import Tensor

_CHANCES = ("swapped frames", "no conditions")
"""What is decided for a sample beside the streams, under names that no stream has."""


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
    streams: Iterable[str] = (),
) -> Draws:
    """Draw for a batch.

    Args:
        ids: Names of the samples.
        seed: Seed of the run.
        step: Optimiser steps made so far.
        data: Latents ``(batch, channels, frames)`` that the noise is for; the result is on their device.
        mask: True where a frame is real, ``(batch, frames)``; real frames come first.
        sample_times: Draws so many flow times.
        streams: Streams that a sample may lose. What is drawn for one depends on its name, so that another stream
            changes nothing else.
    """
    chances = {name: torch.empty(len(ids)) for name in (*_CHANCES, *streams)}
    times = torch.empty(len(ids))
    noise = torch.zeros(data.shape)
    for row, (name, length) in enumerate(zip(ids, mask.sum(1).tolist(), strict=True)):
        for what, numbers in chances.items():
            numbers[row] = torch.rand((), generator=generator(seed, step, name, what))
        source = generator(seed, step, name)
        times[row] = sample_times(1, source)[0]
        noise[row, :, :length] = torch.randn(data.shape[1], length, generator=source)
    chances = {what: numbers.to(data.device) for what, numbers in chances.items()}
    swap, lost_all = (chances.pop(what) for what in _CHANCES)
    return Draws(noise.to(data.device, data.dtype), times.to(data.device), swap, lost_all, chances)
