"""A LightningCLI that builds the task of a recipe and exports a checkpoint of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

from prismaudio.cli.fit import CommandLine
from prismaudio.cli.fit_checkpoint import misfits_of_task
from prismaudio.errors import CheckpointError
from prismaudio.training.callbacks.export import ExportComponents
from prismaudio.training.consolidation import load_weights
from prismaudio.training.contracts import AveragedTask
from prismaudio.weight_files import listed


class ExportCommandLine(CommandLine):
    """Builds the task and the trainer, loads the checkpoint and writes the model folder, without training."""

    job: ClassVar[tuple[Path, Path, list[str]]]

    def _run_subcommand(self, subcommand: str) -> None:
        checkpoint, target, half = self.job
        weights = load_weights(checkpoint)
        self.model.configure_model()  # which loads and selects weights that are not in the recipe
        if isinstance(self.model, AveragedTask) and any(key.startswith("average.") for key in weights):
            self.model.start_average()
        fill_task(self.model, weights, checkpoint)
        ExportComponents(str(target), half).export(self.model, keep=True)


def fill_task(task: Any, weights: dict[str, Any], checkpoint: Path) -> None:
    """Load weights into a task.

    Raises:
        CheckpointError: The weights do not fit the task.
    """
    if problems := misfits_of_task(weights, task):
        raise CheckpointError(f"{checkpoint} does not fit the recipe: {listed(problems)}")
    task.load_state_dict(weights, strict=False)
