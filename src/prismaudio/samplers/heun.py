"""Heun's method."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prismaudio.flow.times import uniform_grid
from prismaudio.samplers.base import Sampler, Velocity

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor


class HeunSampler(Sampler):
    """Second order: the mean of the velocities at both ends of a step; the last step is Euler's.

    Args:
        steps: Number of steps, at least 1; the velocity is evaluated ``2 * steps - 1`` times.
    """

    def __init__(self, steps: int = 12) -> None:
        self.steps = steps

    def sample(self, velocity: Velocity, noise: Tensor, on_step: Callable[[int, int], None] | None = None) -> Tensor:
        """See :meth:`Sampler.sample`."""
        grid = uniform_grid(self.steps).to(noise.device)
        latents = noise
        for step in range(self.steps):
            now, later = grid[step].expand(len(noise)), grid[step + 1].expand(len(noise))
            move = grid[step + 1] - grid[step]
            slope = velocity(latents, now)
            if step + 1 < self.steps:
                slope = (slope + velocity(latents + move * slope, later)) / 2
            latents = latents + move * slope
            if on_step is not None:
                on_step(step + 1, self.steps)
        return latents
