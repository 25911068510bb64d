"""The midpoint method."""

from __future__ import annotations

from torch import Tensor

from prismaudio.samplers.base import GridSampler, Velocity, moved


class MidpointSampler(GridSampler):
    """Second order: the velocity at the midpoint of an Euler half-step.

    Args:
        steps: Number of steps, at least 1; the velocity is evaluated ``2 * steps`` times.
    """

    def __init__(self, steps: int = 12) -> None:
        super().__init__(steps)

    def mean_velocity(self, velocity: Velocity, latents: Tensor, t: Tensor, t_next: Tensor) -> Tensor:
        """See :meth:`GridSampler.mean_velocity`."""
        first, middle = velocity(latents, t), (t + t_next) / 2
        return velocity(moved(latents, first, t, middle), middle)
