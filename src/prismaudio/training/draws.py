"""Random numbers of training, which depend on the seed, the step and the sample's name alone.

A resumed run draws the same numbers, and so do one process with a large batch and many processes with small ones.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from prismaudio.flow.randomness import generator

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from torch import Tensor

_CHANCES = ("swapped pictures", "no conditions")
"""Keys of the random decisions of a sample that belong to no stream."""


@dataclass(frozen=True, eq=False)
class Draws:
    """Random numbers of a batch.

    Args:
        noise: Standard normal noise ``(batch, channels, frames)``, zero where a frame is not real.
        times: Flow times ``(batch,)``.
        swap: Uniform numbers ``(batch,)`` that decide whether the video is swapped.
        drop_all: Uniform numbers ``(batch,)`` that decide whether all conditions are dropped.
        drop_each: For each stream, uniform numbers ``(batch,)`` that decide whether it is dropped.
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
    """Draw the random numbers of a batch.

    Args:
        ids: Names of the samples.
        seed: Seed of the run.
        step: Completed optimizer steps.
        data: Latents ``(batch, channels, frames)`` that the noise is for; the result is on their device.
        mask: True where a frame is real, ``(batch, frames)``; real frames come first.
        sample_times: Draws a number of flow times.
        streams: Streams that may be dropped. Numbers of a stream depend on its name, so another stream changes no other
            number.
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
