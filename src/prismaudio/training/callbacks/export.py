"""Export of trained components to a model folder, for the next stage and ``prismaudio generate``."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lightning.pytorch import Callback
from torch import Tensor, nn

from prismaudio.checkpoints import check_target, save_components
from prismaudio.errors import CheckpointError
from prismaudio.training.contracts import AveragedTask, HasAdapters, HasComponents, expect

if TYPE_CHECKING:
    from collections.abc import Mapping

    from lightning.pytorch import LightningModule, Trainer


class ExportComponents(Callback):
    """Writes the task's components to a model folder at the end of training; other components in it are kept.

    Averaged weights are written if the task has them, and sharded weights are gathered. A task with adapters also
    writes the adapters alone, to ``adapter.safetensors``.

    Args:
        folder: The model folder.
        half: Components whose weights are stored in half precision.
    """

    def __init__(self, folder: str, half: list[str] | None = None) -> None:
        self.folder = Path(folder)
        self.half = half or []

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Check before training that the task can be exported to the folder.

        Raises:
            RecipeError: The task has no components.
            CheckpointError: The folder cannot be used.
        """
        if stage == "fit":
            expect(pl_module, HasComponents, "ExportComponents")
            check_target(self.folder)

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write the folder."""
        self.export(pl_module, first=trainer.is_global_zero)

    def export(self, pl_module: LightningModule, *, first: bool = True) -> None:
        """Write the folder; every process must call this, and the first one writes."""
        task = expect(pl_module, HasComponents, "ExportComponents")
        with pl_module.averaged() if isinstance(pl_module, AveragedTask) else nullcontext():
            components = task.components()
            check_finite(components, self.folder)
            if first:
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
