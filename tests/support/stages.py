"""Training of a stage on the CPU without a word, and whether it learns."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lightning.pytorch import Trainer

if TYPE_CHECKING:
    from pathlib import Path

    from lightning.pytorch import LightningDataModule, LightningModule


def trainer(folder: Path, **options: object) -> Trainer:
    quiet = {"accelerator": "cpu", "logger": False, "enable_progress_bar": False, "enable_model_summary": False}
    return Trainer(**{**quiet, "default_root_dir": folder, "enable_checkpointing": False, **options})  # type: ignore[arg-type]


def check_learning(run: Trainer, task: LightningModule, data: LightningDataModule, share: float) -> None:
    """See that training lowers the loss of validation to less than a share of what it was."""
    before = run.validate(task, data, verbose=False)[0]["val_loss"]
    run.fit(task, data)
    assert run.callback_metrics["val_loss"] < share * before
