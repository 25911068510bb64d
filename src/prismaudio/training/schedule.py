"""Learning-rate schedules, and the optimizer configuration that the tasks share.

Recipes and scripts give an optimizer and a schedule as Lightning's command line does: ``optimizer`` is called with
parameter groups, ``lr_scheduler`` with the optimizer. Any class of ``torch.optim`` and ``torch.optim.lr_scheduler``
works; this module adds the schedules that torch does not have.
"""

from __future__ import annotations

import logging
import math
from typing import TYPE_CHECKING, Any

from lightning.pytorch.cli import LRSchedulerCallable, OptimizerCallable, ReduceLROnPlateau
from lightning.pytorch.utilities.rank_zero import rank_zero_only
from torch.optim import Adam, AdamW, Optimizer
from torch.optim.lr_scheduler import LambdaLR, LinearLR
from torch.optim.lr_scheduler import ReduceLROnPlateau as TorchReduceLROnPlateau

from prismaudio.errors import RecipeError
from prismaudio.training.contracts import UsesRunLength

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from lightning.pytorch import LightningModule
    from torch.nn import Parameter

LOG = logging.getLogger("prismaudio.training")


def inverse_lr(step: int, *, inv_gamma: float = 1e5, power: float = 0.5, warmup: float = 0.99) -> float:
    """Factor of the learning rate: an exponential warm-up times an inverse power decay.

    Args:
        step: Optimizer steps before this one.
        inv_gamma: Steps after which the rate has decayed by ``2^-power``.
        power: Power of the decay.
        warmup: Share of the distance to the full rate that remains after each step of warm-up; 0 for none.

    Source:
        The published training, ``InverseLR``: ``(1 - warmup^(k + 1)) (1 + k / inv_gamma)^-power``.

    Example:
        >>> [round(inverse_lr(step), 4) for step in (0, 100, 1000, 100_000)]
        [0.01, 0.6373, 0.995, 0.7071]
    """
    return (1 - warmup ** (step + 1)) * (1 + step / inv_gamma) ** -power


class InverseLR(LambdaLR):
    """The published schedule: exponential warm-up and a decay that does not depend on the length of the run.

    Args:
        optimizer: The optimizer whose rates are set.
        inv_gamma: Steps after which the rate has decayed by ``2^-power``.
        power: Power of the decay.
        warmup: Share of the distance to the full rate that remains after each step of warm-up; 0 for none.
        last_epoch: Index of the last step; -1 for a new run.

    Source:
        See :func:`inverse_lr`.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        inv_gamma: float = 1e5,
        power: float = 0.5,
        warmup: float = 0.99,
        last_epoch: int = -1,
    ) -> None:
        super().__init__(
            optimizer, lambda step: inverse_lr(step, inv_gamma=inv_gamma, power=power, warmup=warmup), last_epoch
        )
        self.warmup = warmup

    def use_run_length(self, num_steps: float) -> None:
        """Warn if the run ends before nine tenths of the warm-up are over; the schedule does not depend on it."""
        reached = 1 - self.warmup**num_steps
        if reached < 0.9:
            warn_of_warmup(f"warmup is {self.warmup:g}", num_steps, reached)

    def state_dict(self) -> dict[str, Any]:
        """State of the schedule without its settings; a resumed run uses those of the recipe."""
        return {name: value for name, value in super().state_dict().items() if name != "warmup"}


class CosineWithWarmup(LambdaLR):
    """Linear warm-up, then a cosine decay to a floor at the end of the run.

    Args:
        optimizer: The optimizer whose rates are set.
        warmup_steps: Steps of warm-up.
        floor: Final rate as a share of the peak.
        total_steps: Steps of the schedule; None for the optimizer steps of the run.
        last_epoch: Index of the last step; -1 for a new run.

    Example:
        >>> import torch
        >>> optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
        >>> schedule = CosineWithWarmup(optimizer, warmup_steps=2, total_steps=4)
        >>> [round(schedule.factor(step), 2) for step in range(5)]
        [0.5, 1.0, 1.0, 0.51, 0.02]
    """

    def __init__(
        self,
        optimizer: Optimizer,
        warmup_steps: int = 200,
        floor: float = 0.02,
        total_steps: int | None = None,
        last_epoch: int = -1,
    ) -> None:
        if warmup_steps < 0 or not 0 <= floor <= 1:
            raise RecipeError(
                f"warmup_steps is {warmup_steps} and floor {floor}; expected 0 or more steps and a floor from 0 to 1"
            )
        self.warmup_steps, self.floor = warmup_steps, floor
        self.total_steps: float | None = total_steps
        super().__init__(optimizer, lambda step: self.factor(step), last_epoch)  # noqa: PLW0108 - kept out of checkpoints

    def factor(self, step: int) -> float:
        """Learning rate over its peak, after ``step`` optimizer steps."""
        if step < self.warmup_steps:
            return (step + 1) / self.warmup_steps
        total_steps = math.inf if self.total_steps is None else self.total_steps
        decay_steps = max(total_steps, self.warmup_steps + 1) - self.warmup_steps
        progress = min((step - self.warmup_steps) / decay_steps, 1.0)
        return self.floor + (1 - self.floor) * (1 + math.cos(math.pi * progress)) / 2

    def use_run_length(self, num_steps: float) -> None:
        """Decay over the run, unless ``total_steps`` was given; warn if the warm-up is longer than the run."""
        if self.warmup_steps > num_steps:
            warn_of_warmup(f"warmup_steps is {self.warmup_steps}", num_steps, num_steps / self.warmup_steps)
        if self.total_steps is None:
            self.total_steps = num_steps

    def state_dict(self) -> dict[str, Any]:
        """State of the schedule without its settings; a resumed run uses those of the recipe."""
        settings = ("warmup_steps", "floor", "total_steps")
        return {name: value for name, value in super().state_dict().items() if name not in settings}


@rank_zero_only
def warn_of_warmup(option: str, num_steps: float, reached: float) -> None:
    """Log that a run ends during the warm-up of its learning rate.

    Args:
        option: The option of the schedule, with its value.
        num_steps: Optimizer steps of the run.
        reached: Largest learning rate of the run as a share of its peak.
    """
    LOG.warning(
        "%s, but the run has %d optimizer steps: the learning rate reaches %.0f %% of its peak; make the warm-up of "
        "lr_scheduler shorter, a tenth of the run or less, or the run longer",
        option,
        num_steps,
        100 * reached,
    )


def configure_optimizer(
    module: LightningModule,
    optimizer: OptimizerCallable | None,
    lr_scheduler: LRSchedulerCallable | None,
    *,
    defaults: Mapping[str, Any],
    steps_per_batch: int = 1,
) -> Any:
    """The optimizer and the schedule of a task, in the form of Lightning's ``configure_optimizers``.

    Only parameters with ``requires_grad`` are optimized. Parameters of at most one dimension, such as gains and biases,
    have no weight decay, regardless of the optimizer. The learning rate changes once per optimizer step. On CUDA
    devices ``Adam`` and ``AdamW`` are fused, unless their arguments choose another implementation or gradients are
    scaled.

    Args:
        module: The task whose parameters are optimized, attached to a trainer.
        optimizer: Called with the parameter groups; None for AdamW.
        lr_scheduler: Called with the optimizer; None for a constant rate.
        defaults: Arguments of AdamW where ``optimizer`` is None.
        steps_per_batch: Optimizer steps with each batch.

    Raises:
        RecipeError: The optimizer or the schedule rejects its arguments.
    """
    trained = [p for p in module.parameters() if p.requires_grad]
    made = make_optimizer(trained, optimizer, defaults)
    # Lightning does not clip scaled gradients of a fused optimizer
    if all(p.is_cuda for p in trained) and module.trainer.precision != "16-mixed":
        fuse(made)
    _keep_fused(made)
    if lr_scheduler is None:
        return {"optimizer": made}
    try:
        schedule = lr_scheduler(made)
    except (TypeError, ValueError) as error:
        raise RecipeError(f"the learning-rate schedule rejects its arguments: {error}") from error
    if isinstance(schedule, TorchReduceLROnPlateau) and not isinstance(schedule, ReduceLROnPlateau):
        raise RecipeError(
            "ReduceLROnPlateau of torch does not say which metric it follows; name "
            "lightning.pytorch.cli.ReduceLROnPlateau, with monitor: val_loss"
        )
    if isinstance(schedule, ReduceLROnPlateau):
        return {"optimizer": made, "lr_scheduler": {"scheduler": schedule, "monitor": schedule.monitor}}
    if isinstance(schedule, UsesRunLength):
        schedule.use_run_length(run_length(module, steps_per_batch))
    elif isinstance(schedule, LinearLR) and schedule.total_iters and schedule.end_factor > schedule.start_factor:
        num_steps = run_length(module, steps_per_batch)
        last = min(num_steps - 1, schedule.total_iters) / schedule.total_iters
        reached = schedule.start_factor + (schedule.end_factor - schedule.start_factor) * last
        if reached < 0.9 * schedule.end_factor:
            warn_of_warmup(f"total_iters is {schedule.total_iters}", num_steps, reached / schedule.end_factor)
    return {"optimizer": made, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


def make_optimizer(
    trained: Sequence[Parameter], optimizer: OptimizerCallable | None, defaults: Mapping[str, Any]
) -> Optimizer:
    """The optimizer of some parameters; those of at most one dimension have no weight decay.

    Args:
        trained: The parameters.
        optimizer: Called with the parameter groups; None for AdamW.
        defaults: Arguments of AdamW where ``optimizer`` is None.

    Raises:
        RecipeError: The optimizer rejects its arguments.
    """
    groups: list[dict[str, Any]] = [
        {"params": [p for p in trained if p.ndim > 1]},
        {"params": [p for p in trained if p.ndim <= 1], "weight_decay": 0.0},
    ]
    groups = [group for group in groups if group["params"]]
    try:
        return AdamW(groups, **defaults) if optimizer is None else optimizer(groups)
    except (TypeError, ValueError) as error:
        raise RecipeError(f"the optimizer rejects its arguments: {error}") from error


def fuse(optimizer: Optimizer) -> None:
    """Use the fused implementation of an optimizer of torch that has one, unless its arguments choose another."""
    if type(optimizer) not in (Adam, AdamW):
        return
    for group in optimizer.param_groups:
        chosen = group["fused"] is not None or group["foreach"] is not None
        if not (chosen or group["capturable"] or group["differentiable"]):
            group["fused"] = True


def _keep_fused(optimizer: Optimizer) -> None:
    """Keep the implementation of an optimizer when it loads the state of a run on another device."""
    chosen = [group.get("fused") for group in optimizer.param_groups]

    def restore(loaded: Optimizer) -> None:
        for group, fused in zip(loaded.param_groups, chosen, strict=True):
            group.update({"fused": fused} if "fused" in group else {})

    optimizer.register_load_state_dict_post_hook(restore)


def run_length(module: LightningModule, steps_per_batch: int = 1) -> float:
    """Optimizer steps of a run; infinite if only its duration is limited, or if it is not known.

    Args:
        module: A module with its trainer.
        steps_per_batch: Optimizer steps with each batch.
    """
    num_steps = module.trainer.estimated_stepping_batches
    if module.trainer.max_steps < 0:  # Lightning counts batches
        num_steps *= steps_per_batch
    return num_steps if num_steps >= 0 else math.inf  # -1 for epochs of data whose length is not known
