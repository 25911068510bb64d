"""An average of the weights over training, which validation hears and the export takes."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, cast

import torch
from lightning.pytorch import Callback

from prismaudio.errors import RecipeError
from prismaudio.training.contracts import AveragedTask, expect

if TYPE_CHECKING:
    from lightning.pytorch import LightningModule, Trainer


def ema_decay(step: int, *, beta: float = 0.9999, power: float = 0.75, inv_gamma: float = 1.0) -> float:
    """What is kept of the average at an optimiser step.

    Args:
        step: Optimiser steps made, this one included.
        beta: Most that is ever kept.
        power: How quickly the average becomes slower.
        inv_gamma: Steps in which it becomes so.

    Source:
        The published training, ``ema_pytorch`` 0.2.3 with its defaults: nothing is kept in the first two steps.

    Example:
        >>> [round(ema_decay(step), 4) for step in (1, 2, 3, 100, 10**6)]
        [0.0, 0.0, 0.4054, 0.9681, 0.9999]
    """
    after = step - 2
    return 0.0 if after <= 0 else min(1 - (1 + after / inv_gamma) ** -power, beta)


def policy_decay(step: int, *, beta: float = 0.9, every: int = 8) -> float:
    """What is kept of the average of a policy at an optimiser step.

    Args:
        step: Optimiser steps made, this one included.
        beta: Most that is ever kept.
        every: Steps from one change of the average to the next; between them all of it is kept.

    Source:
        Flow-GRPO and PrismAudio's released reinforcement learning: the step before every eighth one counts.

    Example:
        >>> [round(policy_decay(step), 4) for step in (6, 7, 8, 15, 10**6 - 1)]
        [1.0, 0.4706, 1.0, 0.64, 0.9]
    """
    return 1.0 if (step + 1) % every else min((1 + step) / (10 + step), beta)


class ExponentialMovingAverage(Callback):
    """Averages every trained parameter, the conditioners' included; validation and export use the averages.

    The task, an :class:`prismaudio.training.contracts.AveragedTask`, holds them, so its checkpoints do.

    Args:
        beta: Most that is kept of the average at a step.
        power: How quickly the average becomes slower.
        inv_gamma: Steps in which it becomes so.
    """

    def __init__(self, beta: float = 0.9999, power: float = 0.75, inv_gamma: float = 1.0) -> None:
        if not 0 <= beta < 1:
            raise RecipeError(f"beta of the moving average is {beta}; it must be at least 0 and less than 1")
        self.beta, self.power, self.inv_gamma = beta, power, inv_gamma
        self._step = 0
        self._swapped = False

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Begin with the weights as they are; what a checkpoint holds comes later.

        Raises:
            RecipeError: The task is no :class:`prismaudio.training.contracts.AveragedTask`.
        """
        expect(pl_module, AveragedTask, type(self).__name__).start_average()

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Note where the run begins."""
        self._step = trainer.global_step

    def decay(self, step: int) -> float:
        """What is kept of the average at an optimiser step, 1 for all of it."""
        return ema_decay(step, beta=self.beta, power=self.power, inv_gamma=self.inv_gamma)

    @torch.no_grad()
    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *_: Any) -> None:
        """Move the average, if the optimiser made a step; one of several steps in a batch sees its end only."""
        kept = math.prod(self.decay(step) for step in range(self._step + 1, trainer.global_step + 1))
        self._step = trainer.global_step
        if kept == 1:
            return
        for weight, average in cast("AveragedTask", pl_module).average_pairs():
            average.lerp_(weight.to(average.dtype), 1 - kept)

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Let validation use the averages."""
        if not trainer.sanity_checking:
            cast("AveragedTask", pl_module).swap_average()
            self._swapped = True

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Go on with the weights."""
        if self._swapped:
            cast("AveragedTask", pl_module).swap_average()
            self._swapped = False

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Put the weights back when validation is interrupted."""
        self.on_validation_end(trainer, pl_module)

    on_test_start, on_test_end = on_validation_start, on_validation_end


class PolicyAverage(ExponentialMovingAverage):
    """The average of reinforcement learning: it moves every few steps, and follows quickly at first.

    Args:
        beta: Most that is kept of the average when it moves.
        every: Optimiser steps from one move to the next.
    """

    def __init__(self, beta: float = 0.9, every: int = 8) -> None:
        super().__init__(beta)
        if every < 1:
            raise RecipeError(f"the average moves every {every} steps; give it 1 or more")
        self.every = every

    def decay(self, step: int) -> float:
        """See :meth:`ExponentialMovingAverage.decay`."""
        return policy_decay(step, beta=self.beta, every=self.every)
