"""The contract of a sampler."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable

from torch import Tensor

from prismaudio.checkpoints import Configured

Velocity = Callable[[Tensor, Tensor], Tensor]
"""Velocity ``(batch, channels, frames)`` of latents of that shape at times ``(batch,)``; 1 is noise, 0 is data."""


class Sampler(Configured, ABC):
    """Integrates a velocity from noise (time 1) to data (time 0)."""

    @abstractmethod
    def sample(self, velocity: Velocity, noise: Tensor, on_step: Callable[[int, int], None] | None = None) -> Tensor:
        """Latents ``(batch, channels, frames)`` from noise of that shape.

        Args:
            velocity: The guided velocity.
            noise: Standard normal noise ``(batch, channels, frames)``.
            on_step: Called with (steps done, steps in all) after each step; may raise to stop.
        """
