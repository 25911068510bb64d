"""The optimiser and the learning rate that the stages share."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any

import torch

from prismaudio.errors import RecipeError

if TYPE_CHECKING:
    from lightning.pytorch import LightningModule


def inverse_lr(step: int, *, inv_gamma: float = 1e5, power: float = 0.5, warmup: float = 0.99) -> float:
    """Factor of the learning rate: an exponential warm-up times a slow decay.

    Args:
        step: Optimiser steps that were made before this one.
        inv_gamma: Steps after which the decay has set in.
        power: Power of the decay.
        warmup: What is left of the distance to the full rate after each step of warm-up; 0 for none.

    Source:
        The published training, ``InverseLR``: ``(1 - warmup^(k + 1)) (1 + k / inv_gamma)^-power``.

    Example:
        >>> [round(inverse_lr(step), 4) for step in (0, 100, 1000, 100_000)]
        [0.01, 0.6373, 0.995, 0.7071]
    """
    return (1 - warmup ** (step + 1)) * (1 + step / inv_gamma) ** -power


class Schedule(ABC):
    """How the learning rate goes during a run."""

    @abstractmethod
    def factor(self, step: int, total_steps: float) -> float:
        """Learning rate over its peak.

        Args:
            step: Optimiser steps made so far.
            total_steps: Optimiser steps of the whole run; infinite for a run without such a limit.
        """


class CosineSchedule(Schedule):
    """Linear warm-up, then a cosine down to a floor at the end of the run.

    Args:
        warmup_steps: Steps until the peak.
        floor: What is left of the peak in the end.
    """

    def __init__(self, warmup_steps: int = 200, floor: float = 0.02) -> None:
        self.warmup_steps, self.floor = warmup_steps, floor

    def factor(self, step: int, total_steps: float) -> float:
        """Learning rate over its peak."""
        if step < self.warmup_steps:
            return (step + 1) / self.warmup_steps
        after = max(total_steps, self.warmup_steps + 1) - self.warmup_steps
        progress = min((step - self.warmup_steps) / after, 1.0)
        return self.floor + (1 - self.floor) * (1 + math.cos(math.pi * progress)) / 2


class InverseSchedule(Schedule):
    """The published one: exponential warm-up and a decay that does not depend on the length of the run.

    Args:
        inv_gamma: Steps after which the decay has set in.
        power: Power of the decay.
        warmup: What is left of the distance to the full rate after each step of warm-up; 0 for none.
    """

    def __init__(self, inv_gamma: float = 1e5, power: float = 0.5, warmup: float = 0.99) -> None:
        self.inv_gamma, self.power, self.warmup = inv_gamma, power, warmup

    def factor(self, step: int, total_steps: float) -> float:
        """Learning rate over its peak."""
        return inverse_lr(step, inv_gamma=self.inv_gamma, power=self.power, warmup=self.warmup)


class ConstantSchedule(Schedule):
    """Linear warm-up, then always the same.

    Args:
        warmup_steps: Steps until the full rate.
    """

    def __init__(self, warmup_steps: int = 0) -> None:
        self.warmup_steps = warmup_steps

    def factor(self, step: int, total_steps: float) -> float:
        """Learning rate over its peak."""
        return min((step + 1) / max(self.warmup_steps, 1), 1.0)


def scheduled_adamw(
    module: LightningModule,
    learning_rate: float,
    weight_decay: float,
    schedule: Schedule,
    betas: tuple[float, float] = (0.9, 0.98),
    passes: int = 1,
) -> Any:
    """AdamW with a schedule that is stepped with the optimiser.

    Args:
        module: Its trainable parameters are optimised; its trainer says how many steps the run has.
        learning_rate: Peak learning rate.
        weight_decay: Decay of the weights of two or more axes; gains and biases have none.
        schedule: How the learning rate goes.
        betas: Memory of the gradient and of its square.
        passes: Steps with each batch.
    """
    if not (learning_rate >= 0 and weight_decay >= 0):
        raise RecipeError(f"learning_rate is {learning_rate} and weight_decay {weight_decay}; both must be 0 or more")
    trained = [p for p in module.parameters() if p.requires_grad]
    groups = [
        {"params": [p for p in trained if p.ndim > 1], "weight_decay": weight_decay},
        {"params": [p for p in trained if p.ndim <= 1], "weight_decay": 0.0},
    ]
    optimizer = torch.optim.AdamW([group for group in groups if group["params"]], learning_rate, betas=betas)
    total = module.trainer.estimated_stepping_batches  # infinite where nothing but a time ends the run
    if module.trainer.max_steps < 0:  # it counted batches
        total *= passes
    factors = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: schedule.factor(step, total))
    return {"optimizer": optimizer, "lr_scheduler": {"scheduler": factors, "interval": "step"}}
