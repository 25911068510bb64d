"""The contract of a sampler."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable

from torch import Tensor

from prismaudio.checkpoints import Configured
from prismaudio.errors import PrismAudioError
from prismaudio.flow.times import uniform_grid

MAX_STEPS = 10_000
"""Steps of a sampler: more take hours, and gain nothing."""
Velocity = Callable[[Tensor, Tensor], Tensor]
"""Velocity ``(batch, channels, frames)`` of latents of that shape at times ``(batch,)``; 1 is noise, 0 is data.

Samplers keep times on the CPU, so that a velocity can decide by them without waiting for a device.
"""


class Sampler(Configured, ABC):
    """Integrates a velocity from noise (time 1) to data (time 0); each sample by itself, whatever its batch."""

    @abstractmethod
    def sample(self, velocity: Velocity, noise: Tensor, on_step: Callable[[int, int], None] | None = None) -> Tensor:
        """Latents ``(batch, channels, frames)`` from noise of that shape.

        Args:
            velocity: The guided velocity.
            noise: Standard normal noise ``(batch, channels, frames)``.
            on_step: Called with (steps done, steps in all) after each step; may raise to stop.
        """


class GridSampler(Sampler):
    """Goes from noise to data in equal steps; a subclass says with which velocity.

    Args:
        steps: Number of steps, at least 1.
    """

    def __init__(self, steps: int) -> None:
        if not 1 <= steps <= MAX_STEPS:
            raise PrismAudioError(f"{type(self).__name__} cannot make {steps} steps; give it 1 to {MAX_STEPS}")
        self.steps = steps

    @abstractmethod
    def mean_velocity(self, velocity: Velocity, latents: Tensor, now: Tensor, later: Tensor) -> Tensor:
        """The velocity ``(batch, channels, frames)`` to follow from one time to the next.

        Args:
            velocity: The guided velocity.
            latents: Latents at the beginning of the step.
            now: Time at its beginning, ``(batch,)``.
            later: Time at its end, ``(batch,)``.
        """

    def sample(self, velocity: Velocity, noise: Tensor, on_step: Callable[[int, int], None] | None = None) -> Tensor:
        """See :meth:`Sampler.sample`."""
        return self.follow(velocity, noise, uniform_grid(self.steps), on_step)

    def follow(
        self, velocity: Velocity, latents: Tensor, grid: Tensor, on_step: Callable[[int, int], None] | None = None
    ) -> Tensor:
        """Latents at the last time of a grid from those at its first.

        Args:
            velocity: The guided velocity.
            latents: Latents ``(batch, channels, frames)``.
            grid: Times on the CPU, falling; with one time nothing is done.
            on_step: See :meth:`Sampler.sample`.
        """
        times, steps = grid[:, None].expand(-1, len(latents)), len(grid) - 1
        for step in range(steps):
            mean = self.mean_velocity(velocity, latents, times[step], times[step + 1])
            latents = latents + (grid[step + 1] - grid[step]) * mean
            if on_step is not None:
                on_step(step + 1, steps)
        return latents


def moved(latents: Tensor, slope: Tensor, now: Tensor, later: Tensor) -> Tensor:
    """Latents that followed a velocity from one time ``(batch,)`` to another."""
    return latents + beside(latents, later - now)[:, None, None].to(latents.dtype) * slope


def beside(latents: Tensor, numbers: Tensor) -> Tensor:
    """Times and other numbers of the CPU on the device of latents, without waiting for a GPU."""
    return numbers.to(latents.device, non_blocking=latents.is_cuda)
