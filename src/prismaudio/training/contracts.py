"""Protocols that the command line and the callbacks require of tasks and data modules.

Each contract is small, and independent of the others: a task of another package implements those of the callbacks that
its recipes use. The tasks of PrismAudio implement all that apply to them.
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, TypeVar, runtime_checkable

import torch
from lightning.pytorch import LightningModule
from torch import Tensor, nn
from torch.distributed.fsdp import FSDPModule

from prismaudio.errors import CheckpointError, RecipeError
from prismaudio.flow.randomness import generator
from prismaudio.hyperparameters import RecordsArguments, flat
from prismaudio.training.sharding import local_shard
from prismaudio.weight_files import listed

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from torch.optim import Optimizer

    from prismaudio.components import Dimension
    from prismaudio.training.candidates import ScoredCandidates
    from prismaudio.types import LatentBatch

Contract = TypeVar("Contract")


@runtime_checkable
class UsesDimensions(Protocol):
    """A task or a data module that works with the perceptual dimensions that are installed.

    ``prismaudio fit`` sets them before the run; a script has to do so itself.
    """

    def use_dimensions(self, dimensions: Sequence[Dimension]) -> None:
        """Set the dimensions, including those of plugins, in the order of a plan's sections."""


@runtime_checkable
class HasComponents(Protocol):
    """A task whose components can be exported to a model folder, by ``ExportComponents`` and ``prismaudio export``."""

    def components(self) -> dict[str, Any]:
        """The components by name in a model folder; every process calls this, and the result of the first one counts.

        Sharded weights are gathered here, and adapters merged.
        """


@runtime_checkable
class HasAdapters(Protocol):
    """A task that can train adapters, which ``ExportComponents`` writes in addition to the merged weights."""

    def save_adapters(self, folder: Path, *, first: bool = True) -> None:
        """Write the adapters to a model folder; without any, remove those of the weights that were replaced.

        Args:
            folder: The model folder.
            first: Whether this process is the one that writes; every process calls this.
        """


@runtime_checkable
class RendersAudio(Protocol):
    """A task that renders audio for validation clips, which ``ListeningSamples`` logs."""

    @property
    def can_render(self) -> bool:
        """Whether the task has everything that rendering needs, such as an autoencoder."""

    def listening_samples(self, batch: Any, count: int) -> list[tuple[str, Tensor, Tensor, int]]:
        """Name, reference audio and rendered audio ``(2, samples)``, and sample rate, of the first clips of a batch.

        Args:
            batch: A batch of the validation data.
            count: Maximum number of clips.
        """

    def caption(self, batch: Any, row: int, audio: Tensor) -> str:
        """The text that is logged with the audio ``(2, samples)`` of a clip of a batch."""


@runtime_checkable
class SamplesCandidates(Protocol):
    """A task whose updates sample candidates for clips and score them, which ``CandidateSamples`` logs."""

    @property
    def update(self) -> int:
        """Completed updates."""

    def keep_candidates(self) -> None:
        """Keep the candidates of one clip of the next update."""

    def kept_candidates(self) -> ScoredCandidates | None:
        """The candidates that were kept, once; None without any."""


@dataclass(frozen=True)
class DryPhase:
    """A part of a step that :meth:`DryRuns.dry_run` runs next.

    Args:
        name: Its name; parts of one name are added up.
        repeats: How often a real step does this work, one time after the other.
        autocast: Whether it is computed in the precision of the trainer.
    """

    name: str
    repeats: float = 1.0
    autocast: bool = True


@runtime_checkable
class DryRuns(Protocol):
    """A task that can do the work of a step without data, rewards or a loop, which ``prismaudio estimate`` counts."""

    def dry_run(self, batch: LatentBatch, optimizer: Optimizer) -> Iterator[DryPhase]:
        """Do the work of one step, and yield each part before it is done.

        Tensors of the task and of the batch are on the device ``meta``, so that nothing may depend on their values.

        Args:
            batch: Clips of this process, all of one length.
            optimizer: The optimizer of the trained parameters, which have gradients of an earlier step.
        """


@runtime_checkable
class UsesRunLength(Protocol):
    """A learning-rate schedule whose length is that of the run; the tasks pass it before the first step."""

    def use_run_length(self, num_steps: float) -> None:
        """Set the number of optimizer steps of the run, including inner epochs; infinite if it is not limited."""


@runtime_checkable
class FollowsRewards(Protocol):
    """A task that post-trains with rewards, which ``HeldOutGuard`` monitors.

    Its validation logs ``val_reward/NAME`` for the rewards that are optimized and ``val_held_out/NAME`` for the others.
    """

    @property
    def held_out(self) -> Mapping[str, Any]:
        """The rewards that are evaluated and not optimized, by name."""

    @property
    def kl_coef(self) -> float:
        """Coefficient of the divergence from the reference model; 0 without one."""

    def raise_kl(self, factor: float) -> None:
        """Multiply ``kl_coef`` by a factor, for all later updates."""

    def weights_now(self) -> Mapping[str, float]:
        """Current weight of each optimized reward, by name."""


class AveragedTask(RecordsArguments, LightningModule):
    """A task that can hold a moving average of its trained parameters, as a part of its state.

    At the start of a run its arguments, those of the data module, and the optimizer and schedule that were made are
    logged as hyper-parameters.

    ``ExponentialMovingAverage`` starts and updates it. Averages are in the task's checkpoints under ``average``, and
    are sharded where parameters are.

    Attributes:
        average: The averages, by the parameter's name with ``/`` for ``.``; None before :meth:`start_average`.
    """

    average: nn.ParameterDict | None
    seed: int = 0
    """Seed of the dropout."""

    def __init__(self) -> None:
        super().__init__()
        self.average = None

    @property
    def keeps_frozen(self) -> bool:
        """Whether checkpoints hold frozen weights too; those that come from files that stay are left out."""
        return True

    def setup(self, stage: str) -> None:
        """Check the precision.

        Raises:
            RecipeError: It would round weights, and what is computed from them.
        """
        if self.trainer.precision in ("16-true", "bf16-true", "64-true"):
            raise RecipeError(f"precision {self.trainer.precision} is not for training; expected bf16-mixed or 32-true")

    def on_fit_start(self) -> None:
        """Log the hyper-parameters of the run, once; loggers write them in the first process."""
        data: Any = getattr(self.trainer, "datamodule", None)
        kept = getattr(data, "hyperparameters", None) or flat(getattr(data, "hparams_initial", {}))
        schedules = self.trainer.lr_scheduler_configs
        made = {
            "optimizer": next(iter(self.trainer.optimizers), None),
            "lr_scheduler": schedules[0].scheduler if schedules else None,
        }
        found = {"task": type(self).__name__, **self.hyperparameters, **flat(made)}
        if data is not None:
            found |= {"data": type(data).__name__, **{f"data.{name}": value for name, value in kept.items()}}
        for logger in self.trainer.loggers:
            logger.log_hyperparams(found)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Leave out frozen weights if they come from files; shards keep all."""
        if not self.keeps_frozen and self.device_mesh is None:
            frozen = {
                name for name, weight in self.named_parameters(remove_duplicate=False) if not weight.requires_grad
            }
            state = checkpoint["state_dict"]
            checkpoint["state_dict"] = {k: v for k, v in state.items() if k not in frozen or k.startswith("average.")}

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Validate that all trained weights are in the checkpoint; loading is not strict where weights are frozen.

        Raises:
            CheckpointError: Some are missing.
        """
        if not self.keeps_frozen and self.device_mesh is None:
            trained = {name for name, weight in self.named_parameters() if weight.requires_grad}
            if missing := sorted(trained - checkpoint["state_dict"].keys()):
                named = listed([f"missing {name}" for name in missing])
                raise CheckpointError(f"the checkpoint does not have the trained weights of the recipe: {named}")

    def on_train_batch_start(self, *_: Any) -> None:
        """Seed the global generator, which dropout uses, so that a resumed run continues with the same numbers."""
        source = generator(self.seed, self.global_step, self.global_rank)
        torch.manual_seed(int(torch.randint(2**62, (), generator=source)))

    def start_average(self) -> None:
        """Initialize the averages with the current weights, unless there are averages already."""
        if self.average is None:
            self.average = nn.ParameterDict(
                {
                    _key(name): nn.Parameter(weight.detach().clone(), requires_grad=False)
                    for name, weight in self.named_parameters()
                    if weight.requires_grad
                }
            )

    def average_pairs(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Every trained parameter and its average; of sharded ones, the local shard."""
        if self.average is None:
            return
        for part in self.modules():
            if isinstance(part, FSDPModule):  # its parameters may be unsharded after a forward
                part.reshard()
        for name, weight in dict(self.named_parameters()).items():
            if _key(name) in self.average:
                yield local_shard(weight.detach()), local_shard(self.average[_key(name)].detach())

    @torch.no_grad()
    def swap_average(self) -> None:
        """Exchange the weights and their averages."""
        for weight, average in self.average_pairs():
            kept = weight.clone()
            weight.copy_(average)
            average.copy_(kept)

    @contextmanager
    def averaged(self) -> Iterator[None]:
        """Use the averages in place of the weights, if there are averages."""
        self.swap_average()
        try:
            yield
        finally:
            self.swap_average()


def expect(task: object, contract: type[Contract], user: str) -> Contract:
    """Return the task if it implements a contract.

    Args:
        task: The task.
        contract: One of the contracts of this module.
        user: Name of the caller, for the error.

    Raises:
        RecipeError: The task does not implement it.

    Example:
        >>> expect(nn.Linear(1, 1), HasComponents, "ExportComponents")
        Traceback (most recent call last):
        prismaudio.errors.RecipeError: ExportComponents needs a task that implements \
prismaudio.training.contracts.HasComponents, and Linear does not
    """
    if isinstance(task, contract):
        return task
    needed = f"{contract.__module__}.{contract.__name__}"
    raise RecipeError(f"{user} needs a task that implements {needed}, and {type(task).__name__} does not")


def _key(name: str) -> str:
    return name.replace(".", "/")
