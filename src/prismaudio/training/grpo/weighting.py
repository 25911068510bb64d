"""Weights of the steps in the loss: the size of the gradient differs 16-fold over a trajectory."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

import torch

from prismaudio.checkpoints import Configured

if TYPE_CHECKING:
    from torch import Tensor

    from prismaudio.flow.kernels import TransitionKernel
    from prismaudio.training.grpo.windows import Window


class StepWeighting(Configured, ABC):
    """How much each step of a window counts; a subclass says it up to a factor."""

    @abstractmethod
    def importance(self, kernel: TransitionKernel, now: Tensor, later: Tensor) -> Tensor:
        """Importance of steps, ``(steps,)``, above 0.

        Args:
            kernel: The kernel of the random steps.
            now: Times ``(steps,)`` at their beginnings.
            later: Times at their ends.
        """

    def weights(self, kernel: TransitionKernel, grid: Tensor, window: Window) -> Tensor:
        """Weights ``(len(window),)`` float32, of mean 1 over all steps of the grid that may be random.

        Args:
            kernel: The kernel of the random steps.
            grid: Times ``(steps + 1,)``.
            window: The window.
        """
        n_steps = len(grid) - (1 if kernel.random_to_the_end else 2)
        importance = self.importance(kernel, grid[:n_steps], grid[1 : n_steps + 1]).float()
        return (importance / importance.mean())[window.start : window.stop]


class UniformWeighting(StepWeighting):
    """All steps count the same, as published."""

    def importance(self, kernel: TransitionKernel, now: Tensor, later: Tensor) -> Tensor:
        """See :meth:`StepWeighting.importance`."""
        return torch.ones_like(now)


class RectifiedWeighting(StepWeighting):
    """Steps count the less, the more their density depends on the velocity: gradients of the same size at all times.

    Source:
        Flash-GRPO (2605.15980), whose table of numbers is computed here.
    """

    def importance(self, kernel: TransitionKernel, now: Tensor, later: Tensor) -> Tensor:
        """See :meth:`StepWeighting.importance`."""
        return 1 / kernel.kappa(now, later)


class NoiseWeighting(StepWeighting):
    """Steps count by the standard deviation of their noise.

    Source:
        TempFlow-GRPO (2508.04324).
    """

    def importance(self, kernel: TransitionKernel, now: Tensor, later: Tensor) -> Tensor:
        """See :meth:`StepWeighting.importance`."""
        return kernel.step(now.double(), later.double()).std
