"""The second stage: training a planner to write the chain of thought."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from lightning.pytorch.cli import LRSchedulerCallable, OptimizerCallable

from prismaudio.components import Dimension
from prismaudio.metrics.plans import PlanEventF1
from prismaudio.planners.base import TrainablePlanner
from prismaudio.training.contracts import AveragedTask
from prismaudio.training.finite import guards
from prismaudio.training.schedule import CosineWithWarmup, configure_optimizer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lightning.pytorch import Callback
    from torch import Tensor

    from prismaudio.types import ClipBatch

ADAMW = {"lr": 1e-3, "weight_decay": 0.01, "betas": (0.9, 0.98)}
"""Arguments of AdamW where no optimizer is given."""


class CotTuningTask(AveragedTask):
    """Trains a planner on clips and their reference plans.

    Args:
        planner: The planner, which computes its own loss.
        optimizer: Optimizer, such as ``{class_path: AdamW, init_args: {lr: 1.0e-4}}``; parameters of at most one
            dimension have no weight decay. None for AdamW with learning rate 1e-3, weight decay 0.01 and betas
            (0.9, 0.98).
        lr_scheduler: Learning-rate schedule, stepped with the optimizer; None for a constant rate.
    """

    def __init__(
        self,
        planner: TrainablePlanner,
        optimizer: OptimizerCallable | None = None,
        lr_scheduler: LRSchedulerCallable | None = lambda optimizer: CosineWithWarmup(optimizer, warmup_steps=100),
    ) -> None:
        super().__init__()
        self.planner = planner
        self.optimizer, self.lr_scheduler = optimizer, lr_scheduler
        self.dimensions: tuple[Dimension, ...] = ()
        self.event_f1 = PlanEventF1()

    def use_dimensions(self, dimensions: Sequence[Dimension]) -> None:
        """Set the dimensions of the plans in validation, including those of plugins.

        Without them the planner writes the sections that the reference plans have.
        """
        self.dimensions = tuple(dimensions)

    def components(self) -> dict[str, Any]:
        """The trained component, by its name in a model folder."""
        return {"planner": self.planner}

    def configure_optimizers(self) -> Any:
        """The optimizer and its schedule, see :func:`prismaudio.training.schedule.configure_optimizer`."""
        return configure_optimizer(self, self.optimizer, self.lr_scheduler, defaults=ADAMW)

    def configure_callbacks(self) -> list[Callback]:
        """The guard against losses that are not finite."""
        return guards(self.trainer)

    def training_step(self, batch: ClipBatch) -> Tensor:
        """Loss of a batch."""
        terms = self.planner.loss(batch.clips, batch.plans)
        self.log_dict({f"train_{name}": term.detach() for name, term in terms.items()}, batch_size=len(batch))
        total = torch.stack(list(terms.values())).sum()
        self.log("train_loss", total.detach(), prog_bar=True, batch_size=len(batch))
        return total

    def validation_step(self, batch: ClipBatch) -> None:
        """Loss, and the F1 of the events of the written plans against those of the reference plans."""
        terms = self.planner.loss(batch.clips, batch.plans)
        self.log_dict({f"val_{name}": term for name, term in terms.items()}, batch_size=len(batch))
        self.log("val_loss", torch.stack(list(terms.values())).sum(), prog_bar=True, batch_size=len(batch))
        written = [
            self.planner.plan(clip, self.dimensions or [Dimension(name, "") for name in plan])
            for clip, plan in zip(batch.clips, batch.plans, strict=True)
        ]
        self.event_f1.update(written, batch.plans)
        self.log("val_event_f1", self.event_f1, prog_bar=True, batch_size=len(batch))
