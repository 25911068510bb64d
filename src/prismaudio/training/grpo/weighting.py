"""Weights of the steps in the loss; without them the norm of the gradient varies 16-fold over a trajectory."""

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
    """Weight of each step of a window; a subclass computes it up to a factor."""

    @abstractmethod
    def importance(self, kernel: TransitionKernel, t: Tensor, t_next: Tensor) -> Tensor:
        """Importance of steps, ``(steps,)``, above 0.

        Args:
            kernel: The kernel of the stochastic steps.
            t: Times ``(steps,)`` at their starts.
            t_next: Times ``(steps,)`` at their ends.
        """

    def weights(self, kernel: TransitionKernel, grid: Tensor, window: Window) -> Tensor:
        """Weights ``(len(window),)`` float32, of mean 1 over all steps of the grid that may be stochastic.

        Args:
            kernel: The kernel of the stochastic steps.
            grid: Times ``(steps + 1,)``.
            window: The window.
        """
        n_steps = len(grid) - (1 if kernel.stochastic_last_step else 2)
        importance = self.importance(kernel, grid[:n_steps], grid[1 : n_steps + 1]).float()
        return (importance / importance.mean())[window.start : window.stop]


class UniformWeighting(StepWeighting):
    """Equal weights, as published."""

    def importance(self, kernel: TransitionKernel, t: Tensor, t_next: Tensor) -> Tensor:
        """See :meth:`StepWeighting.importance`."""
        return torch.ones_like(t)


class RectifiedWeighting(StepWeighting):
    """Inverse to the sensitivity of the density to the velocity, so that gradients have the same norm at all times.

    Source:
        Flash-GRPO (2605.15980), whose tabulated weights are computed here.
    """

    def importance(self, kernel: TransitionKernel, t: Tensor, t_next: Tensor) -> Tensor:
        """See :meth:`StepWeighting.importance`."""
        return 1 / kernel.kappa(t, t_next)


class NoiseWeighting(StepWeighting):
    """Proportional to the standard deviation of the noise of a step.

    Source:
        TempFlow-GRPO (2508.04324).
    """

    def importance(self, kernel: TransitionKernel, t: Tensor, t_next: Tensor) -> Tensor:
        """See :meth:`StepWeighting.importance`."""
        return kernel.step(t.double(), t_next.double()).std
