"""Exponential moving averages of the weights, used in validation and export."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, cast

import torch
from lightning.pytorch import Callback
from torch.optim.swa_utils import get_ema_multi_avg_fn

from prismaudio.errors import RecipeError
from prismaudio.training.contracts import AveragedTask, expect

if TYPE_CHECKING:
    from lightning.pytorch import LightningModule, Trainer


def ema_decay(step: int, *, beta: float = 0.9999, power: float = 0.75, inv_gamma: float = 1.0) -> float:
    """Decay of the average at an optimizer step.

    Args:
        step: Optimizer steps, this one included.
        beta: Largest decay.
        power: Power of the warm-up of the decay.
        inv_gamma: Steps of the warm-up of the decay.

    Source:
        The published training, ``ema_pytorch`` 0.2.3 with its defaults: the decay is 0 in the first two steps.

    Example:
        >>> [round(ema_decay(step), 4) for step in (1, 2, 3, 100, 10**6)]
        [0.0, 0.0, 0.4054, 0.9681, 0.9999]
    """
    after = step - 2
    return 0.0 if after <= 0 else min(1 - (1 + after / inv_gamma) ** -power, beta)


def policy_decay(step: int, *, beta: float = 0.9, every: int = 8) -> float:
    """Decay of the average of a policy at an optimizer step.

    Args:
        step: Optimizer steps, this one included.
        beta: Largest decay.
        every: Steps between updates of the average; in between the decay is 1.

    Source:
        Flow-GRPO and PrismAudio's released reinforcement learning: the average moves at the step before every eighth.

    Example:
        >>> [round(policy_decay(step), 4) for step in (6, 7, 8, 15, 10**6 - 1)]
        [1.0, 0.4706, 1.0, 0.64, 0.9]
    """
    return 1.0 if (step + 1) % every else min((1 + step) / (10 + step), beta)


class ExponentialMovingAverage(Callback):
    """Averages every trained parameter, those of conditioners included; validation and export use the averages.

    The averages are part of the task, an :class:`prismaudio.training.contracts.AveragedTask`, and of its checkpoints.

    Args:
        beta: Largest decay of the average at a step.
        power: Power of the warm-up of the decay.
        inv_gamma: Steps of the warm-up of the decay.
    """

    def __init__(self, beta: float = 0.9999, power: float = 0.75, inv_gamma: float = 1.0) -> None:
        if not 0 <= beta < 1:
            raise RecipeError(f"beta of the moving average is {beta}; expected at least 0 and less than 1")
        self.beta, self.power, self.inv_gamma = beta, power, inv_gamma
        self._step = 0
        self._swapped = False

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Initialize the averages with the weights; a checkpoint is loaded later.

        Raises:
            RecipeError: The task is no :class:`prismaudio.training.contracts.AveragedTask`.
        """
        expect(pl_module, AveragedTask, type(self).__name__).start_average()

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Store the step at which the run starts."""
        self._step = trainer.global_step

    def decay(self, step: int) -> float:
        """Decay of the average at an optimizer step."""
        return ema_decay(step, beta=self.beta, power=self.power, inv_gamma=self.inv_gamma)

    @torch.no_grad()
    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *_: Any) -> None:
        """Update the averages if the optimizer made a step; of several steps with a batch, with the last weights."""
        kept = math.prod(self.decay(step) for step in range(self._step + 1, trainer.global_step + 1))
        self._step = trainer.global_step
        if kept == 1:
            return
        pairs = list(cast("AveragedTask", pl_module).average_pairs())
        if pairs:  # one kernel for many weights on a GPU
            averages = [average for _, average in pairs]
            get_ema_multi_avg_fn(kept)(averages, [weight.to(average.dtype) for weight, average in pairs], 0)

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Swap the averages in for validation."""
        if not trainer.sanity_checking:
            cast("AveragedTask", pl_module).swap_average()
            self._swapped = True

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Swap the weights back in."""
        if self._swapped:
            cast("AveragedTask", pl_module).swap_average()
            self._swapped = False

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Swap the weights back in when validation is interrupted."""
        self.on_validation_end(trainer, pl_module)

    on_test_start, on_test_end = on_validation_start, on_validation_end


class PolicyAverage(ExponentialMovingAverage):
    """The moving average of reinforcement learning: updated every few steps, with a warm-up of the decay.

    Args:
        beta: Largest decay of an update of the average.
        every: Optimizer steps between updates of the average.
    """

    def __init__(self, beta: float = 0.9, every: int = 8) -> None:
        super().__init__(beta)
        if every < 1:
            raise RecipeError(f"every of PolicyAverage is {every}; expected 1 or more")
        self.every = every

    def decay(self, step: int) -> float:
        """See :meth:`ExponentialMovingAverage.decay`."""
        return policy_decay(step, beta=self.beta, every=self.every)
