"""Heun's method."""

from __future__ import annotations

from torch import Tensor

from prismaudio.samplers.base import GridSampler, Velocity, moved


class HeunSampler(GridSampler):
    """Second order: the mean of the velocities at both ends of a step.

    Args:
        steps: Number of steps, at least 1; the velocity is evaluated ``2 * steps`` times.
    """

    def __init__(self, steps: int = 12) -> None:
        super().__init__(steps)

    def mean_velocity(self, velocity: Velocity, latents: Tensor, t: Tensor, t_next: Tensor) -> Tensor:
        """See :meth:`GridSampler.mean_velocity`."""
        first = velocity(latents, t)
        return (first + velocity(moved(latents, first, t, t_next), t_next)) / 2
