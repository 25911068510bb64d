"""Export of trained components to a model folder, for the next stage and ``prismaudio generate``."""

from __future__ import annotations

import logging
import os
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lightning.pytorch import Callback
from lightning.pytorch.utilities.rank_zero import rank_zero_info
from torch import Tensor, nn

from prismaudio.checkpoints import changed_components, check_target, keep_components, save_components
from prismaudio.errors import CheckpointError
from prismaudio.training.contracts import AveragedTask, HasAdapters, HasComponents, expect
from prismaudio.training.lora import remove_adapters

if TYPE_CHECKING:
    from collections.abc import Mapping

    from lightning.pytorch import LightningModule, Trainer


LOG = logging.getLogger("prismaudio.training.callbacks")


class ExportComponents(Callback):
    """Writes the task's components to a model folder at the end of training; other components in it are kept.

    Averaged weights are written if the task has them, and sharded weights are gathered. A task with adapters also
    writes the adapters alone, to ``adapter.safetensors``; those of an earlier run do not stay beside other weights.

    If the folder has components of an earlier run or export that would be replaced, the model in it is kept in a folder
    with a number after its name, such as ``model.1``, without taking more space than its files do.

    Args:
        folder: The model folder; None for ``model`` in the folder of the run, that of its logs.
        half: Components whose weights are stored in half precision.
    """

    def __init__(self, folder: str | None = None, half: list[str] | None = None) -> None:
        self.folder = Path(folder or "model")
        self.half = half or []
        self._in_run = folder is None

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Check before training that the task can be exported to the folder.

        Raises:
            RecipeError: The task has no components.
            CheckpointError: The folder cannot be used.
        """
        if stage == "fit":
            expect(pl_module, HasComponents, "ExportComponents")
            run = Path(trainer.log_dir or trainer.default_root_dir)  # which all processes ask for together
            self.folder = run / "model" if self._in_run else self.folder
            check_target(self.folder)
            place = self.folder.absolute().parent
            if (self.folder / "config.json").exists() and not os.access(place, os.W_OK):
                raise CheckpointError(
                    f"the model in {self.folder} cannot be kept beside the new one, because {place} is not writable; "
                    "choose another folder"
                )

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write the folder, and keep what an earlier run wrote there."""
        self.export(pl_module, first=trainer.is_global_zero, keep=True)
        rank_zero_info(f"The model is in {self.folder}")

    def export(self, pl_module: LightningModule, *, first: bool = True, keep: bool = False) -> None:
        """Write the folder; every process must call this, and the first one writes.

        Args:
            pl_module: The task.
            first: Whether this process is the one that writes.
            keep: Keep a folder whose components would be replaced under another name.
        """
        task = expect(pl_module, HasComponents, "ExportComponents")
        with pl_module.averaged() if isinstance(pl_module, AveragedTask) else nullcontext():
            components = task.components()
            check_finite(components, self.folder)
            if first:
                if keep and (changed := changed_components(self.folder, components)):
                    kept = keep_components(self.folder)
                    LOG.warning(
                        "%s has another %s; that model is kept as %s", self.folder, ", ".join(sorted(changed)), kept
                    )
                if isinstance(task, HasAdapters):
                    remove_adapters(self.folder)  # before the weights, so that no moment has those of two runs
                save_components(self.folder, components, self.half, beside=True)
            if isinstance(task, HasAdapters):
                task.save_adapters(self.folder, first=first)


def check_finite(components: Mapping[str, Any], folder: Path) -> None:
    """Check that weights are finite before they are exported.

    Raises:
        CheckpointError: Some are NaN or infinite.
    """
    for name, component in components.items():
        state = component.state_dict() if isinstance(component, nn.Module) else {}
        wrong = [key for key, value in state.items() if isinstance(value, Tensor) and not bool(value.isfinite().all())]
        if wrong:
            raise CheckpointError(
                f"the {name} has NaN or infinity in {len(wrong)} of {len(state)} tensors, such as {wrong[0]}; "
                f"{folder} was not written: export an earlier checkpoint"
            )
