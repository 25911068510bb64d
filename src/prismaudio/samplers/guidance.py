"""Classifier-free guidance."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

import torch

from prismaudio.errors import PrismAudioError
from prismaudio.samplers.base import on_device_of
from prismaudio.types import Conditions

if TYPE_CHECKING:
    from torch import Tensor

    from prismaudio.models.dit import DiffusionTransformer
    from prismaudio.models.graphs import GraphedTransformer
    from prismaudio.samplers.base import Velocity


def guided_velocity(
    transformer: DiffusionTransformer | GraphedTransformer,
    conditions: Conditions,
    n_frames: int,
    scale: float = 1.0,
    rescale: float = 0.0,
    negative: Conditions | None = None,
    interval: tuple[float, float] = (0.0, 1.0),
    mask: Tensor | None = None,
    *,
    cache: bool = True,
) -> Velocity:
    """The velocity ``v_null + scale (v_conditional - v_null)``, both halves in one forward.

    With times on the CPU, as samplers pass them, the interval is compared without synchronising a device.

    Args:
        transformer: The network, or its CUDA graphs.
        conditions: Conditions of each sample.
        n_frames: Latent frames of the trajectory.
        scale: Guidance scale; 1 is the conditional velocity itself, larger values follow the conditions more closely.
        rescale: 0 .. 1, how far to rescale the standard deviation over channels to that of the conditional velocity.
        negative: Negative conditions, in place of the null conditions.
        interval: Lowest and highest flow time with guidance. At other times the scale is 1; where that holds for
            all samples, the unconditional half is not computed.
        mask: True where a frame is real, bool ``(batch, n_frames)``, real frames first; None for all.
        cache: Compute the :class:`prismaudio.models.dit.ConditioningCache` once for all steps; otherwise in each
            forward, as a network with sharded parameters needs it.

    Raises:
        PrismAudioError: The interval is empty.

    Source:
        Ho and Salimans 2022; rescaling: Lin et al. 2023, with the deviation over channels as in PrismAudio;
        interval: Kynkaanniemi et al. 2024.
    """
    lowest, highest = interval
    if not lowest <= highest:
        raise PrismAudioError(f"no time lies in a guidance interval of {lowest} to {highest}; put the lower end first")
    if scale == 1:
        alone = transformer.cache_conditions(conditions, n_frames, mask) if cache else conditions
        return lambda latents, times: transformer(latents, on_device_of(latents, times), alone, mask)
    twice = None if mask is None else torch.cat([mask, mask])
    joined = Conditions.cat(conditions, negative or conditions.null())
    both = transformer.cache_conditions(joined, n_frames, twice) if cache else joined

    @functools.cache
    def first(count: int) -> Any:
        return conditions if isinstance(both, Conditions) else both.first(count)

    def velocity(latents: Tensor, times: Tensor) -> Tensor:
        inside = (times >= lowest) & (times <= highest)
        times = on_device_of(latents, times)
        if not inside.any():
            return transformer(latents, times, first(len(latents)), mask)
        wanted, other = transformer(torch.cat([latents, latents]), torch.cat([times, times]), both, twice).chunk(2)
        guided = other + scale * (wanted - other)
        if rescale:
            ratio = wanted.std(1, keepdim=True) / guided.std(1, keepdim=True).clamp_min(1e-6)
            guided = guided * (rescale * ratio + 1 - rescale)
        return torch.where(on_device_of(latents, inside)[:, None, None], guided, wanted)

    return velocity
