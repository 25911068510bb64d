"""Search and validation of the checkpoint that a run resumes from."""

from __future__ import annotations

import sys
import traceback
from pathlib import Path
from typing import TYPE_CHECKING

from lightning.pytorch.callbacks import ModelCheckpoint

from prismaudio.errors import CheckpointError, one_line
from prismaudio.paths import expanded
from prismaudio.training.checkpoint_files import PREVIOUS
from prismaudio.training.consolidation import check_shards
from prismaudio.weight_files import load_plain, misfits, read_weights, shapes_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from lightning.pytorch import LightningModule, Trainer
    from torch import Tensor

WORDS = ("last", "best", "hpc")
"""Values that Lightning accepts instead of a path."""
LAST = ("last*.ckpt", f".last*.ckpt{PREVIOUS}")
"""Patterns of the newest checkpoint; the second is left by a run that is killed while it replaces a folder."""
NEEDED = ("state_dict", "pytorch-lightning_version")


def check_checkpoint(path: str | None) -> None:
    """Check that a checkpoint was written by ``prismaudio fit``, before anything is built.

    Raises:
        CheckpointError: It was not, it is damaged, or it does not exist.
    """
    if not path or path in WORDS or "://" in path or path.startswith("registry"):
        return
    file_or_folder = expanded(path)
    if not file_or_folder.exists():
        raise CheckpointError(f"no such checkpoint: {path}")
    if file_or_folder.is_dir():
        if not (file_or_folder / ".metadata").is_file():
            raise CheckpointError(f"{path} is not a checkpoint of prismaudio fit: a sharded one has a file .metadata")
        check_shards(file_or_folder)
        return
    with file_or_folder.open("rb") as file:
        is_zip = file.read(2) == b"PK"
    found = None
    if is_zip:
        read_weights(file_or_folder)  # raises an error with the reason if it is damaged
        found = load_plain(file_or_folder, mmap=True)
    if not isinstance(found, dict) or not all(key in found for key in NEEDED):
        raise CheckpointError(f"{path} is not a checkpoint of prismaudio fit, or it is damaged")


def last_checkpoint(trainer: Trainer) -> str:
    """Return the newest ``last.ckpt`` of all versions of a run.

    Lightning itself searches only the folder of the new version, and starts from scratch if it has none. If the file is
    damaged, the newest intact checkpoint of the run is returned.

    Raises:
        CheckpointError: There is no checkpoint, or none is intact.
    """
    callbacks = [callback for callback in trainer.checkpoint_callbacks if isinstance(callback, ModelCheckpoint)]
    named = [Path(callback.dirpath) for callback in callbacks if callback.dirpath]
    root, versions = run_folders(trainer)
    folders = [*named, *(version / "checkpoints" for version in versions)]
    found = newest_first([path for folder in folders for name in LAST for path in folder.glob(name)])
    if not found:
        raise CheckpointError(
            f"there is no last.ckpt in {' or '.join(map(str, [*named, root]))}, where ModelCheckpoint with save_last "
            "writes it; give the path of a checkpoint, or omit --ckpt_path to start from scratch"
        )
    others = [path for path in newest_first(p for folder in folders for p in folder.glob("*.ckpt")) if path != found[0]]
    first: CheckpointError | None = None
    for path in (found[0], *others):
        try:
            check_checkpoint(str(path))
        except CheckpointError as error:
            first = first or error
            continue
        if first is not None and trainer.is_global_zero:
            sys.stderr.write(f"warning: {' '.join(str(first).split())}; resuming from {path} instead\n")
        return str(path)
    raise first or CheckpointError(f"{found[0]} is damaged")


def newest_first(paths: Iterable[Path]) -> list[Path]:
    """Sort checkpoints, newest first; sharded ones without ``.metadata`` are incomplete and omitted."""
    written = {path: path / ".metadata" if path.is_dir() else path for path in paths}
    times = {path: file.stat().st_mtime_ns for path, file in written.items() if file.is_file()}
    return sorted(times, key=times.__getitem__, reverse=True)


def run_folders(trainer: Trainer) -> tuple[Path, list[Path]]:
    """The folder of a run, and those of its versions; only one version if it is named or exists already."""
    root, logger = Path(trainer.default_root_dir), trainer.logger
    if logger is None:
        return root, [root]
    root, version = Path(logger.save_dir or root, str(logger.name)), logger.version
    own = root / (version if isinstance(version, str) else f"version_{version}")
    return root, [own] if isinstance(version, str) or own.is_dir() else list(root.glob("*"))


def misloaded(path: str, model: LightningModule, error: Exception) -> list[str]:
    """Differences between a checkpoint and the model or optimizer that could not load it.

    Args:
        path: The checkpoint.
        model: The model of the recipe.
        error: The exception of the run.

    Returns:
        The differences; empty if the error is not one of loading.
    """
    if all(frame.f_code.co_name != "load_state_dict" for frame, _ in traceback.walk_tb(error.__traceback__)):
        return []
    file = expanded(path)
    if not file.is_file():  # a folder of shards, which is not read again
        return [one_line(error)]
    return misfits_of_task(load_plain(file, mmap=True)["state_dict"], model) or [one_line(error)]


def misfits_of_task(weights: Mapping[str, Tensor], task: LightningModule) -> list[str]:
    """Differences between the weights of a checkpoint and those of a task."""
    expected = task.state_dict()
    if not task.strict_loading:  # weights that are not trained are not in the checkpoint
        expected = {key: value for key, value in expected.items() if key in weights}
    return misfits(shapes_of(weights), shapes_of(expected))
