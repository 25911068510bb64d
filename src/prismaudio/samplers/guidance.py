"""Classifier-free guidance: how strongly the conditions are followed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

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
) -> Velocity:
    """The velocity ``v_null + scale (v_conditional - v_null)``, both halves in one forward.

    Args:
        transformer: The network.
        conditions: What to make, for each sample.
        n_frames: Latent frames of the trajectory.
        scale: 1 follows the network as it is, more follows the conditions more closely.
        rescale: 0 .. 1, how far to bring the spread over channels back to that of the conditional velocity.
        negative: What to stay away from, in place of nothing; streams as long as those of ``conditions``.

    Source:
        Ho and Salimans 2022; rescaling: Lin et al. 2023, with the spread over channels as PrismAudio has it.
    """
    if scale == 1:
        guide = transformer.guide(conditions, n_frames)
        return lambda latents, times: transformer(latents, times, guide)
    both = transformer.guide(Conditions.cat(conditions, negative or conditions.null()), n_frames)

    def velocity(latents: Tensor, times: Tensor) -> Tensor:
        out = transformer(torch.cat([latents, latents]), torch.cat([times, times]), both)
        wanted, other = out.chunk(2)
        guided = other + scale * (wanted - other)
        if rescale:
            ratio = wanted.std(1, keepdim=True) / guided.std(1, keepdim=True).clamp_min(1e-6)
            guided = guided * (rescale * ratio + 1 - rescale)
        return guided

    return velocity
