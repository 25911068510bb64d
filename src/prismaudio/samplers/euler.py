"""Euler's method."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prismaudio.flow.times import uniform_grid
from prismaudio.samplers.base import Sampler, Velocity

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor


class EulerSampler(Sampler):
    """One velocity a step on a uniform grid, as the published model samples.

    Args:
        steps: Number of steps, at least 1.
    """

    def __init__(self, steps: int = 24) -> None:
        self.steps = steps

    def sample(self, velocity: Velocity, noise: Tensor, on_step: Callable[[int, int], None] | None = None) -> Tensor:
        """See :meth:`Sampler.sample`."""
        grid = uniform_grid(self.steps).to(noise.device)
        latents = noise
        for step in range(self.steps):
            times = grid[step].expand(len(noise))
            latents = latents + (grid[step + 1] - grid[step]) * velocity(latents, times)
            if on_step is not None:
                on_step(step + 1, self.steps)
        return latents
