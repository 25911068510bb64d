"""The second stage: teaching a planner to write the chain of thought."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from prismaudio.components import Dimension
from prismaudio.metrics.plan_events import PlanEventF1
from prismaudio.planners.base import TrainablePlanner
from prismaudio.training.contracts import AveragedTask
from prismaudio.training.finite import guards
from prismaudio.training.schedule import CosineSchedule, scheduled_adamw

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lightning.pytorch import Callback
    from torch import Tensor

    from prismaudio.types import ClipBatch


class CotTuningTask(AveragedTask):
    """Teaches a planner from clips and the plans that they should have.

    Args:
        planner: The planner; what its loss is is its own affair.
        learning_rate: Peak learning rate of AdamW.
        weight_decay: Weight decay of AdamW.
        warmup_steps: Steps of linear warm-up.
    """

    def __init__(
        self,
        planner: TrainablePlanner,
        learning_rate: float = 1e-3,
        weight_decay: float = 0.01,
        warmup_steps: int = 100,
    ) -> None:
        super().__init__()
        self.planner = planner
        self.learning_rate, self.weight_decay, self.warmup_steps = learning_rate, weight_decay, warmup_steps
        self.dimensions: tuple[Dimension, ...] = ()
        self.event_f1 = PlanEventF1()

    def use_dimensions(self, dimensions: Sequence[Dimension]) -> None:
        """Ask the planner for these dimensions in validation, those of plugins included.

        Without them it is asked for the sections that the true plans have.
        """
        self.dimensions = tuple(dimensions)

    def components(self) -> dict[str, Any]:
        """What this stage makes, by its name in a model folder."""
        return {"planner": self.planner}

    def configure_optimizers(self) -> Any:
        """AdamW with warm-up and cosine decay."""
        return scheduled_adamw(self, self.learning_rate, self.weight_decay, CosineSchedule(self.warmup_steps))

    def configure_callbacks(self) -> list[Callback]:
        """The guard against losses that are no numbers."""
        return guards(self.trainer)

    def training_step(self, batch: ClipBatch) -> Tensor:
        """Loss of a batch."""
        terms = self.planner.loss(batch.clips, batch.plans)
        self.log_dict({f"train_{name}": term.detach() for name, term in terms.items()}, batch_size=len(batch))
        total = torch.stack(list(terms.values())).sum()
        self.log("train_loss", total.detach(), prog_bar=True, batch_size=len(batch))
        return total

    def validation_step(self, batch: ClipBatch) -> None:
        """Loss, and how well the events of the plans that it writes match those of the given ones."""
        terms = self.planner.loss(batch.clips, batch.plans)
        self.log_dict({f"val_{name}": term for name, term in terms.items()}, batch_size=len(batch))
        self.log("val_loss", torch.stack(list(terms.values())).sum(), prog_bar=True, batch_size=len(batch))
        written = [
            self.planner.plan(clip, self.dimensions or [Dimension(name, "") for name in plan])
            for clip, plan in zip(batch.clips, batch.plans, strict=True)
        ]
        self.event_f1.update(written, batch.plans)
        self.log("val_event_f1", self.event_f1, prog_bar=True, batch_size=len(batch))
