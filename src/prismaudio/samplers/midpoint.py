"""The midpoint method."""

from __future__ import annotations

from torch import Tensor

from prismaudio.samplers.base import GridSampler, Velocity, moved


class MidpointSampler(GridSampler):
    """Second order: the velocity in the middle of a step, where that at its beginning leads.

    Args:
        steps: Number of steps, at least 1; the velocity is evaluated ``2 * steps`` times.
    """

    def __init__(self, steps: int = 12) -> None:
        super().__init__(steps)

    def mean_velocity(self, velocity: Velocity, latents: Tensor, now: Tensor, later: Tensor) -> Tensor:
        """See :meth:`GridSampler.mean_velocity`."""
        first, middle = velocity(latents, now), (now + later) / 2
        return velocity(moved(latents, first, now, middle), middle)
