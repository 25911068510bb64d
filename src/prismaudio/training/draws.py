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
    lengths: Sequence[int],
    sample_times: Callable[[int, torch.Generator], Tensor],
    streams: Iterable[str] = (),
) -> Draws:
    """Draw the random numbers of a batch, without waiting for its device.

    Times and decisions are drawn on the CPU and are the same on every device. Noise is drawn where the data are: on a
    GPU by its own counter-based generator, whose numbers are not those of the CPU.

    Args:
        ids: Names of the samples.
        seed: Seed of the run.
        step: Completed optimizer steps.
        data: Latents ``(batch, channels, frames)`` that the noise is for; the result is on their device.
        lengths: Number of real frames of each sample, which come first.
        sample_times: Draws a number of flow times.
        streams: Streams that may be dropped. Numbers of a stream depend on its name, so another stream changes no other
            number.
    """
    on_gpu = data.device.type == "cuda"
    chances = (*_CHANCES, *streams)
    numbers = torch.empty(1 + len(chances), len(ids), pin_memory=on_gpu)
    noise = torch.zeros(data.shape, device=data.device if on_gpu else "cpu")
    for row, (name, length) in enumerate(zip(ids, lengths, strict=True)):
        for place, what in enumerate(chances, 1):
            numbers[place, row] = torch.rand((), generator=generator(seed, step, name, what))
        source = generator(seed, step, name)
        numbers[0, row] = sample_times(1, source)[0]
        if on_gpu:
            source = generator(seed, step, name, device=data.device)
        noise[row, :, :length] = torch.randn(data.shape[1], length, generator=source, device=noise.device)
    times, swap, drop_all, *drop_each = numbers.to(data.device, non_blocking=on_gpu)
    return Draws(
        noise.to(data.device, data.dtype), times, swap, drop_all, dict(zip(chances[2:], drop_each, strict=True))
    )
