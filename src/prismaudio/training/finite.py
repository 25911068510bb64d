"""A guard that stops a run before a loss or a gradient that is not finite reaches the weights."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from lightning.pytorch import Callback
from lightning.pytorch.plugins import MixedPrecision
from torch.nn.utils import get_total_norm

from prismaudio.errors import TrainingError, first_of
from prismaudio.training.sharding import local_shard
from prismaudio.types import ClipBatch, LatentBatch

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lightning.pytorch import LightningModule, Trainer
    from torch import Tensor
    from torch.optim import Optimizer

MAX_NAMED = 8
"""Maximum number of clips that an error names; further ones are counted."""


class NonFiniteGuard(Callback):
    """Stops training at an optimizer step whose loss or gradient is NaN or infinite, before weights change.

    All processes check at the same step and stop together. Where gradients are scaled (``16-mixed``) the scaler skips
    steps whose gradient is not finite, so that only the loss is checked.
    """

    def __init__(self) -> None:
        self._names: tuple[str, ...] = ()
        self._losses: list[tuple[tuple[str, ...], Tensor]] = []

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Discard the state of an earlier run."""
        self._losses = []

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
            TrainingError: One is not finite, in this process or in another.
        """
        losses, self._losses = self._losses, []
        device = pl_module.device
        finite = [flag.to(device) for _, flag in losses]
        finite += [] if _is_scaled(trainer) else [_finite_gradient(optimizer, device)]
        if not finite:
            return
        flag = torch.stack(finite).all().to(torch.int32)
        if int(trainer.strategy.reduce(flag, reduce_op="min")):
            return
        of_loss = [name for names, fine in losses if not bool(fine) for name in names]
        wrong = "loss" if any(not bool(fine) for _, fine in losses) else "gradient"
        mine = (wrong, of_loss or [name for names, _ in losses for name in names])
        raise TrainingError(_report(trainer.global_step, _of_all_processes(mine)))


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
        return torch.tensor(True, device=device)
    return get_total_norm(local, norm_type=float("inf")).isfinite().to(device)


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
