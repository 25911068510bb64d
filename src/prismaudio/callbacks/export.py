"""Writing what a stage made to the model folder that the next stage and ``prismaudio generate`` read."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from lightning.pytorch import Callback

from prismaudio.checkpoints import load_components, save_components

if TYPE_CHECKING:
    from lightning.pytorch import LightningModule, Trainer


class ExportComponents(Callback):
    """At the end of training, puts the task's components into a model folder, beside those that are there already.

    Args:
        folder: The model folder.
        half: Components whose weights are stored in half precision.
    """

    def __init__(self, folder: str, half: list[str] | None = None) -> None:
        self.folder = Path(folder)
        self.half = half or []

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write the folder, from one process."""
        if trainer.is_global_zero:
            present = load_components(self.folder) if (self.folder / "config.json").exists() else {}
            save_components(self.folder, {**present, **pl_module.components()}, self.half)  # type: ignore[operator]
