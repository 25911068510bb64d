"""Euler's method."""

from __future__ import annotations

from torch import Tensor

from prismaudio.samplers.base import GridSampler, Velocity


class EulerSampler(GridSampler):
    """One velocity a step, first order: how the published model samples.

    Args:
        steps: Number of steps, at least 1; the velocity is evaluated as often.
    """

    def __init__(self, steps: int = 24) -> None:
        super().__init__(steps)

    def mean_velocity(self, velocity: Velocity, latents: Tensor, t: Tensor, t_next: Tensor) -> Tensor:
        """See :meth:`GridSampler.mean_velocity`."""
        return velocity(latents, t)
