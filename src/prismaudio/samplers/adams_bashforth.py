"""The Adams-Bashforth method of second order."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prismaudio.samplers.base import GridSampler, Velocity

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor


class AdamsBashforthSampler(GridSampler):
    """Second order with one velocity a step: it extrapolates from the velocity of the step before.

    The first step is Euler's. With 12 steps it comes as close to the exact trajectories of a trained model as Euler's
    method with 24, in half the time, see ``docs/explanation/samplers.md``.

    Args:
        steps: Number of steps, at least 1; the velocity is evaluated as often.

    Source:
        Hairer, Norsett, Wanner: Solving Ordinary Differential Equations I, section III.1; variable steps: III.5.
    """

    def __init__(self, steps: int = 12) -> None:
        super().__init__(steps)

    def mean_velocity(self, velocity: Velocity, latents: Tensor, t: Tensor, t_next: Tensor) -> Tensor:
        """The mean velocity of a first step; later steps are those of :meth:`follow`."""
        return velocity(latents, t)

    def follow(
        self, velocity: Velocity, latents: Tensor, grid: Tensor, on_step: Callable[[int, int], None] | None = None
    ) -> Tensor:
        """See :meth:`GridSampler.follow`."""
        times, steps = grid[:, None].expand(-1, len(latents)), len(grid) - 1
        before = None
        for step in range(steps):
            now = velocity(latents, times[step])
            length = grid[step + 1] - grid[step]
            share = 0.0 if before is None else length / (2 * (grid[step] - grid[step - 1]))
            mean = now if before is None else now + share * (now - before)
            latents, before = latents + length * mean, now
            if on_step is not None:
                on_step(step + 1, steps)
        return latents
