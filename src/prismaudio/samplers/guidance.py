"""Classifier-free guidance: how strongly the conditions are followed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from prismaudio.errors import PrismAudioError
from prismaudio.models.dit import Guide
from prismaudio.samplers.base import beside
from prismaudio.types import Conditions

if TYPE_CHECKING:
    from torch import Tensor

    from prismaudio.models.dit import DiffusionTransformer
    from prismaudio.samplers.base import Velocity


def guided_velocity(
    transformer: DiffusionTransformer,
    conditions: Conditions,
    n_frames: int,
    scale: float = 1.0,
    rescale: float = 0.0,
    negative: Conditions | None = None,
    interval: tuple[float, float] = (0.0, 1.0),
    mask: Tensor | None = None,
    *,
    once: bool = True,
) -> Velocity:
    """The velocity ``v_null + scale (v_conditional - v_null)``, both halves in one forward.

    Times on the CPU, as samplers give them, let the interval be looked up without waiting for a device.

    Args:
        transformer: The network.
        conditions: What to make, for each sample.
        n_frames: Latent frames of the trajectory.
        scale: 1 follows the network as it is, more follows the conditions more closely.
        rescale: 0 .. 1, how far to bring the spread over channels back to that of the conditional velocity.
        negative: What to stay away from, in place of nothing.
        interval: Lowest and highest flow time with guidance. At other times the scale is 1, and where that is so for
            all samples, the other half is not computed.
        mask: True where a frame is real, bool ``(batch, n_frames)``, real frames first; None for all.
        once: Compute what the conditions come to once for all steps; otherwise in each forward, as a network needs it
            whose parameters are spread over processes.

    Raises:
        PrismAudioError: The interval is not one.

    Source:
        Ho and Salimans 2022; rescaling: Lin et al. 2023, with the spread over channels as PrismAudio has it;
        interval: Kynkaanniemi et al. 2024.
    """
    lowest, highest = interval
    if not lowest <= highest:
        raise PrismAudioError(f"no time lies in a guidance interval of {lowest} to {highest}; put the lower end first")
    if scale == 1:
        alone = transformer.guide(conditions, n_frames, mask) if once else conditions
        return lambda latents, times: transformer(latents, beside(latents, times), alone, mask)
    twice = None if mask is None else torch.cat([mask, mask])
    joined = Conditions.cat(conditions, negative or conditions.null())
    both = transformer.guide(joined, n_frames, twice) if once else joined

    def velocity(latents: Tensor, times: Tensor) -> Tensor:
        inside = (times >= lowest) & (times <= highest)
        times = beside(latents, times)
        if not inside.any():
            alone = both.first(len(latents)) if isinstance(both, Guide) else conditions
            return transformer(latents, times, alone, mask)
        wanted, other = transformer(torch.cat([latents, latents]), torch.cat([times, times]), both, twice).chunk(2)
        guided = other + scale * (wanted - other)
        if rescale:
            ratio = wanted.std(1, keepdim=True) / guided.std(1, keepdim=True).clamp_min(1e-6)
            guided = guided * (rescale * ratio + 1 - rescale)
        return torch.where(beside(latents, inside)[:, None, None], guided, wanted)

    return velocity
