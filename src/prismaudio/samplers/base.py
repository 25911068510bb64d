"""The contract of a sampler."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable

from torch import Tensor

from prismaudio.checkpoints import Configured
from prismaudio.errors import PrismAudioError
from prismaudio.flow.times import uniform_grid

MAX_STEPS = 10_000
"""Largest number of steps of a sampler; more steps take hours without a gain in quality."""
Velocity = Callable[[Tensor, Tensor], Tensor]
"""Velocity ``(batch, channels, frames)`` of latents of that shape at times ``(batch,)``; 1 is noise, 0 is data.

Samplers keep times on the CPU, so that a velocity can branch on them without synchronising a device.
"""


class Sampler(Configured, ABC):
    """Integrates a velocity from noise (time 1) to data (time 0); a result does not depend on the rest of its batch."""

    @abstractmethod
    def sample(self, velocity: Velocity, noise: Tensor, on_step: Callable[[int, int], None] | None = None) -> Tensor:
        """Latents ``(batch, channels, frames)`` from noise of that shape.

        Args:
            velocity: The guided velocity.
            noise: Standard normal noise ``(batch, channels, frames)``.
            on_step: Called with (steps done, steps in all) after each step; may raise to stop.
        """


class GridSampler(Sampler):
    """Integrates from noise to data in equal steps; a subclass computes the mean velocity of a step.

    Args:
        steps: Number of steps, at least 1.
    """

    def __init__(self, steps: int) -> None:
        if not 1 <= steps <= MAX_STEPS:
            raise PrismAudioError(f"{type(self).__name__} cannot make {steps} steps; give it 1 to {MAX_STEPS}")
        self.steps = steps

    @abstractmethod
    def mean_velocity(self, velocity: Velocity, latents: Tensor, t: Tensor, t_next: Tensor) -> Tensor:
        """The mean velocity ``(batch, channels, frames)`` of a step.

        Args:
            velocity: The guided velocity.
            latents: Latents at the start of the step.
            t: Time at its start, ``(batch,)``.
            t_next: Time at its end, ``(batch,)``.
        """

    def sample(self, velocity: Velocity, noise: Tensor, on_step: Callable[[int, int], None] | None = None) -> Tensor:
        """See :meth:`Sampler.sample`."""
        return self.follow(velocity, noise, uniform_grid(self.steps), on_step)

    def follow(
        self, velocity: Velocity, latents: Tensor, grid: Tensor, on_step: Callable[[int, int], None] | None = None
    ) -> Tensor:
        """Integrate latents from the first time of a grid to its last.

        Args:
            velocity: The guided velocity.
            latents: Latents ``(batch, channels, frames)``.
            grid: Decreasing times on the CPU; a grid of one time returns the latents unchanged.
            on_step: See :meth:`Sampler.sample`.
        """
        times, steps = grid[:, None].expand(-1, len(latents)), len(grid) - 1
        for step in range(steps):
            mean = self.mean_velocity(velocity, latents, times[step], times[step + 1])
            latents = latents + (grid[step + 1] - grid[step]) * mean
            if on_step is not None:
                on_step(step + 1, steps)
        return latents


def moved(latents: Tensor, slope: Tensor, t: Tensor, t_next: Tensor) -> Tensor:
    """Latents after an Euler step along a velocity, from times ``(batch,)`` to others."""
    return latents + on_device_of(latents, t_next - t)[:, None, None].to(latents.dtype) * slope


def on_device_of(latents: Tensor, numbers: Tensor) -> Tensor:
    """Copy times or other numbers from the CPU to the device of the latents, without synchronising a GPU."""
    return numbers.to(latents.device, non_blocking=latents.is_cuda)
