"""The classical Runge-Kutta method."""

from __future__ import annotations

from torch import Tensor

from prismaudio.samplers.base import GridSampler, Velocity, moved


class RungeKuttaSampler(GridSampler):
    """Fourth order, with four velocities a step.

    Why this one: with as many evaluations it comes closest to the exact trajectories of a trained model, see
    ``docs/explanation/samplers.md``. A step size that adapts to the error would take other steps for a sample alone
    than for the same sample in a batch; torchdiffeq, which has such methods, brings scipy.

    Args:
        steps: Number of steps, at least 1; the velocity is evaluated ``4 * steps`` times.
    """

    def __init__(self, steps: int = 6) -> None:
        super().__init__(steps)

    def mean_velocity(self, velocity: Velocity, latents: Tensor, t: Tensor, t_next: Tensor) -> Tensor:
        """See :meth:`GridSampler.mean_velocity`."""
        middle = (t + t_next) / 2
        first = velocity(latents, t)
        second = velocity(moved(latents, first, t, middle), middle)
        third = velocity(moved(latents, second, t, middle), middle)
        fourth = velocity(moved(latents, third, t, t_next), t_next)
        return (first + 2 * second + 2 * third + fourth) / 6
