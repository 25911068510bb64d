"""A guard that stops a run before a loss or a gradient that is not finite reaches the weights."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from lightning.pytorch import Callback
from lightning.pytorch.plugins import MixedPrecision
from torch.nn.utils import get_total_norm
from torch.optim import SGD, Adam, AdamW

from prismaudio.devices import HostCopy
from prismaudio.errors import TrainingError, first_of
from prismaudio.training.sharding import local_shard, max_over_processes
from prismaudio.types import ClipBatch, LatentBatch

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lightning.pytorch import LightningModule, Trainer
    from torch import Tensor
    from torch.optim import Optimizer

MAX_NAMED = 8
"""Maximum number of clips that an error names; further ones are counted."""
_Losses = list[tuple[tuple[str, ...], "Tensor"]]
"""Names of the clips of each loss, and whether it is finite."""


@dataclass(frozen=True, eq=False)
class _Step:
    """A step that the optimizer made on the device, or skipped.

    Args:
        number: Optimizer steps before it.
        losses: Its losses.
        skipped: Whether it was skipped, 1 or 0.
    """

    number: int
    losses: _Losses
    skipped: HostCopy


class NonFiniteGuard(Callback):
    """Stops training at an optimizer step whose loss or gradient is NaN or infinite; that step changes no weight.

    All processes check at the same step and stop together. Where gradients are scaled (``16-mixed``) the scaler skips
    steps whose gradient is not finite, so that only the loss is checked.

    A fused optimizer of torch is told on the device to skip such a step, as the scaler tells it, so that the host does
    not wait for the device. The run then ends before the next step, checkpoint or validation.
    """

    def __init__(self) -> None:
        self._names: tuple[str, ...] = ()
        self._losses: _Losses = []
        self._unread: _Step | None = None

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Discard the state of an earlier run."""
        self._losses, self._unread = [], None

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        """Store the names of the clips of the batch."""
        self._names = names_of(batch)

    def on_before_backward(self, trainer: Trainer, pl_module: LightningModule, loss: Tensor) -> None:
        """Store whether a loss is finite, without synchronizing the device."""
        loss = loss.detach()
        # a scaled half-precision loss may overflow; the scaler handles it
        scaled = _is_scaled(trainer) and loss.dtype == torch.float16
        finite = ~loss.isnan() if scaled else loss.isfinite()
        self._losses.append((self._names, finite.all()))

    def on_before_optimizer_step(self, trainer: Trainer, pl_module: LightningModule, optimizer: Optimizer) -> None:
        """Check the losses since the last step, and the gradient.

        Raises:
            TrainingError: One is not finite, in this process or in another; with a fused optimizer, one of the step
                before.
        """
        self._read()
        losses, self._losses = self._losses, []
        device = pl_module.device
        finite = [flag.to(device) for _, flag in losses]
        finite += [] if _is_scaled(trainer) else [_finite_gradient(optimizer, device)]
        if not finite:
            return
        fine = torch.stack(finite).all()
        if not _is_scaled(trainer) and skips_steps(optimizer):
            skipped = max_over_processes((~fine).float())
            optimizer.found_inf = skipped  # type: ignore[attr-defined]  # as a gradient scaler does
            self._unread = _Step(trainer.global_step, losses, HostCopy(skipped))
        elif not int(trainer.strategy.reduce(fine.to(torch.int32), reduce_op="min")):
            _stop(trainer.global_step, losses)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Check the last step."""
        self._read()

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Check the last step."""
        self._read()

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Check the last step, so that no checkpoint counts a step that was skipped."""
        self._read()

    def _read(self) -> None:
        """Check the last step of a fused optimizer.

        Raises:
            TrainingError: It was skipped.
        """
        step = self._unread
        if step is not None and float(step.skipped.get()):
            _stop(step.number, step.losses)  # again if a checkpoint is saved because of this error
        self._unread = None


def skips_steps(optimizer: Optimizer) -> bool:
    """Whether an optimizer leaves out a step on the device where its attribute ``found_inf`` is 1."""
    return type(optimizer) in (Adam, AdamW, SGD) and all(group["fused"] for group in optimizer.param_groups)


def guards(trainer: Trainer) -> list[Callback]:
    """The guard, for ``configure_callbacks`` of a task; an empty list where the trainer has one already."""
    return [] if any(isinstance(callback, NonFiniteGuard) for callback in trainer.callbacks) else [NonFiniteGuard()]  # type: ignore[attr-defined]


def names_of(batch: Any) -> tuple[str, ...]:
    """Names of the clips of a batch; empty for other kinds of batches."""
    return tuple(batch.ids) if isinstance(batch, ClipBatch | LatentBatch) else ()


def _is_scaled(trainer: Trainer) -> bool:
    plugin = trainer.precision_plugin
    return isinstance(plugin, MixedPrecision) and plugin.scaler is not None


def _finite_gradient(optimizer: Optimizer, device: torch.device) -> Tensor:
    """Whether the gradient is finite; of sharded parameters, the local shard."""
    gradients = [p.grad.detach() for group in optimizer.param_groups for p in group["params"] if p.grad is not None]
    local = [local_shard(gradient) for gradient in gradients]
    local = [gradient for gradient in local if gradient.numel()]
    if not local:
        return torch.ones((), dtype=torch.bool, device=device)
    return get_total_norm(local, norm_type=float("inf")).isfinite().to(device)


def _stop(step: int, losses: _Losses) -> None:
    """Raise the error of a step that is not finite; every process must call this."""
    of_loss = [name for names, fine in losses if not bool(fine) for name in names]
    wrong = "loss" if any(not bool(fine) for _, fine in losses) else "gradient"
    mine = (wrong, of_loss or [name for names, _ in losses for name in names])
    raise TrainingError(_report(step, _of_all_processes(mine)))


def _of_all_processes(mine: tuple[str, list[str]]) -> list[tuple[str, list[str]]]:
    """Findings of all processes; every process must call this."""
    if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
        return [mine]
    found: list[Any] = [None] * torch.distributed.get_world_size()
    torch.distributed.all_gather_object(found, mine)
    return found


def _report(step: int, found: Sequence[tuple[str, list[str]]]) -> str:
    what = "loss" if any(wrong == "loss" for wrong, _ in found) else "gradient"
    names = list(dict.fromkeys(name for wrong, some in found if wrong == what for name in some))
    clips = f", with the clips {first_of(names, MAX_NAMED)}" if names else ""
    return (
        f"the {what} of step {step} is NaN or infinite{clips}; the weights are those of the previous step: check these "
        "clips, lower the learning rate, and resume with --ckpt_path last"
    )
