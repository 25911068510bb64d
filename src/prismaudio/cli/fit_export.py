"""Lightning's command line, building what a recipe describes only to export it."""

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
    """Builds the task and the trainer, loads the checkpoint, writes the model folder, and trains nothing."""

    job: ClassVar[tuple[Path, Path, list[str]]]

    def _run_subcommand(self, subcommand: str) -> None:
        checkpoint, target, half = self.job
        weights = load_weights(checkpoint)
        if isinstance(self.model, AveragedTask) and any(key.startswith("average.") for key in weights):
            self.model.start_average()
        fill_task(self.model, weights, checkpoint)
        ExportComponents(str(target), half).export(self.model)


def fill_task(task: Any, weights: dict[str, Any], checkpoint: Path) -> None:
    """Put weights into a task.

    Raises:
        CheckpointError: They are not those of such a task.
    """
    if problems := misfits_of_task(weights, task):
        raise CheckpointError(f"{checkpoint} is not of this recipe: {listed(problems)}")
    task.load_state_dict(weights, strict=False)
