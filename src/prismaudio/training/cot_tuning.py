"""The second stage: training a planner to write the chain of thought."""

from __future__ import annotations

import logging
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from lightning.pytorch.cli import LRSchedulerCallable, OptimizerCallable

from prismaudio.checkpoints import Configured, within
from prismaudio.components import Dimension
from prismaudio.metrics.plans import PlanReference, PlanScore
from prismaudio.plan import Plan
from prismaudio.planners.base import TrainablePlanner
from prismaudio.training.contracts import AveragedTask
from prismaudio.training.finite import guards
from prismaudio.training.plan_log import WrittenPlan, log_plans
from prismaudio.training.schedule import CosineWithWarmup, configure_optimizer
from prismaudio.training.sharding import shard_whole

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lightning.pytorch import Callback
    from torch import Tensor

    from prismaudio.types import Clip, ClipBatch

LOG = logging.getLogger("prismaudio.training")
ADAMW = {"lr": 1e-3, "weight_decay": 0.01, "betas": (0.9, 0.98)}
"""Arguments of AdamW where no optimizer is given."""
SHOWN = 4
"""Number of written plans that are logged at each validation."""
EVENT_F1 = "event_f1_50ms"
"""The value that is logged as ``val_event_f1``, for the progress bar and to select checkpoints."""


class CotTuningTask(AveragedTask):
    """Trains a planner on clips and their reference plans.

    Validation logs the loss, and writes plans: their form and content, compared with the reference plans
    (:class:`prismaudio.metrics.plans.PlanScore`), are logged as ``val_plan/NAME``, and the F1 of events within 50 ms
    also as ``val_event_f1``. The first of them are logged as text, to TensorBoard or Weights & Biases, or else to
    ``plans`` in the folder of the run.

    Args:
        planner: The planner, which computes its own loss.
        optimizer: Optimizer, such as ``{class_path: AdamW, init_args: {lr: 1.0e-4}}``; parameters of at most one
            dimension have no weight decay. None for AdamW with learning rate 1e-3, weight decay 0.01 and betas
            (0.9, 0.98).
        lr_scheduler: Learning-rate schedule, stepped with the optimizer; None for a constant rate.
        num_written: Number of validation clips whose plans are written, the first ones; None for all. A language model
            takes seconds for each.
        seed: Seed of the dropout.
    """

    def __init__(
        self,
        planner: TrainablePlanner,
        optimizer: OptimizerCallable | None = None,
        lr_scheduler: LRSchedulerCallable | None = lambda optimizer: CosineWithWarmup(optimizer, warmup_steps=100),
        num_written: int | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__()
        within(0, 1_000_000, num_written=num_written)
        self.planner = planner
        self.optimizer, self.lr_scheduler = optimizer, lr_scheduler
        self.num_written, self.seed = num_written, seed
        self.dimensions: tuple[Dimension, ...] = ()
        self.plan_score = PlanScore()
        self._plans: list[WrittenPlan] = []
        self._n_written = 0
        self._told_of_times = False
        self._configured = False

    @property
    def takes_whole_clips(self) -> bool:
        """Whether clips may have any length and no audio."""
        return self.planner.takes_whole_clips

    @property
    def keeps_frozen(self) -> bool:
        """Unless the planner has files of its own, which hold the frozen weights."""
        own = isinstance(self.planner, Configured) and bool(self.planner.files_argument)
        return not own or all(weight.requires_grad for weight in self.planner.parameters())

    def use_dimensions(self, dimensions: Sequence[Dimension]) -> None:
        """Set the dimensions that are trained and written, including those of plugins.

        Of these, each clip is trained on the sections that its reference plan has. Without them the order of sections
        is that of the reference plans.
        """
        self.dimensions = tuple(dimensions)
        self.planner.use_dimensions(self.dimensions)

    def configure_model(self) -> None:
        """Load, freeze and shard the weights of the planner, once."""
        if self._configured:
            return
        self._configured = True
        mesh = None if self.device_mesh is None else self.device_mesh["data_parallel"]
        self.planner.prepare_training(mesh)
        self.strict_loading = self.keeps_frozen
        if self.average is not None and not len(self.average):  # it was started before there were weights
            self.average = None
            self.start_average()
        elif mesh is not None and self.average is not None:
            shard_whole(self.average, mesh)

    def components(self) -> dict[str, Any]:
        """The trained component, by its name in a model folder; every process must call this."""
        return {"planner": self.planner.trained()}

    def save_adapters(self, folder: Path, *, first: bool = True) -> None:
        """Write the adapters of the planner, if there are any; every process must call this, the first one writes."""
        self.planner.save_adapters(folder, first=first)

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

    def on_validation_epoch_start(self) -> None:
        """Begin with the first clips again."""
        self._plans, self._n_written = [], 0
        self.plan_score.reset()

    def validation_step(self, batch: ClipBatch) -> None:
        """Loss, and the written plans of the first clips."""
        terms = self.planner.loss(batch.clips, batch.plans)
        count = len(batch) * self.trainer.world_size  # Lightning's mean of counts over processes drops fractions
        self.log_dict({f"val_{name}": term for name, term in terms.items()}, batch_size=count, sync_dist=True)
        total = torch.stack(list(terms.values())).sum()
        self.log("val_loss", total, prog_bar=True, batch_size=count, sync_dist=True)
        count = 0 if self.trainer.sanity_checking else self._num_to_write(len(batch))
        if count:
            self._write(batch.clips[:count], batch.plans[:count])

    def _num_to_write(self, n_clips: int) -> int:
        """The number of clips of a batch whose plans this process writes."""
        if self.num_written is not None:
            n_clips = min(n_clips, math.ceil(self.num_written / self.trainer.world_size) - self._n_written)
        if self.device_mesh is not None:  # weights are gathered from all processes, which write equally often
            n_clips = int(self.trainer.strategy.reduce(torch.tensor(n_clips, device=self.device), reduce_op="min"))
        return max(0, n_clips)

    def _write(self, clips: Sequence[Clip], references: Sequence[Plan]) -> None:
        """Write plans with the sections of their references, and compare them."""
        known = {dimension.name: dimension for dimension in self.dimensions}
        names = [tuple(name for name in known or plan if plan.get(name)) for plan in references]
        asked = (
            [tuple(known)] * len(names) if self.device_mesh is not None and known else names
        )  # alike in all processes
        plans: dict[int, Plan] = {}
        for wanted in dict.fromkeys(asked):
            rows = [row for row, some in enumerate(asked) if some == wanted]
            dimensions = [known.get(name) or Dimension(name, "") for name in wanted]
            plans |= zip(rows, self.planner.plan_batch([clips[row] for row in rows], dimensions), strict=True)
        self._n_written += len(clips)
        for row, (clip, reference) in enumerate(zip(clips, references, strict=True)):
            self.plan_score.dimensions = names[row]
            plan = Plan({name: text for name, text in plans[row].items() if name in names[row]}, plans[row].warnings)
            self.plan_score.update([plan], [PlanReference.from_story(reference.story, clip.duration_s)])
            if len(self._plans) < SHOWN:
                self._plans.append(WrittenPlan(clip.id, plan, reference))

    def on_validation_epoch_end(self) -> None:
        """Log the scores of the written plans, and the first of them as text."""
        if self.trainer.sanity_checking or not self._n_written:
            return
        scores = {name: value for name, value in self.plan_score.compute().items() if not value.isnan()}
        self.log_dict({f"val_plan/{name}": value for name, value in scores.items()})
        self.log("val_event_f1", scores.get(EVENT_F1, torch.tensor(0.0)), prog_bar=True)
        if EVENT_F1 not in scores and not self._told_of_times and self.trainer.is_global_zero:
            self._told_of_times = True
            LOG.warning(
                "val_event_f1 is 0 because it cannot be measured: neither the reference plans nor the written ones of "
                "%d clips state times of events; monitor val_loss instead",
                self._n_written,
            )
        folder = Path(self.trainer.log_dir or self.trainer.default_root_dir)  # which all processes ask for together
        if self.trainer.is_global_zero:
            log_plans(self.trainer, self._plans, folder)
