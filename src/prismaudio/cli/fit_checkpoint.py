"""What is wrong with the checkpoint that a run is to go on from."""

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
"""What Lightning takes instead of a path."""
LAST = ("last*.ckpt", f".last*.ckpt{PREVIOUS}")
"""Names of the newest checkpoint; the second is what a run leaves that is killed while a folder takes its place."""
NEEDED = ("state_dict", "pytorch-lightning_version")


def check_checkpoint(path: str | None) -> None:
    """See that a checkpoint is one of ``prismaudio fit``, before anything is built.

    Raises:
        CheckpointError: It is not, or it is damaged, or not there.
    """
    if not path or path in WORDS or "://" in path or path.startswith("registry"):
        return
    place = expanded(path)
    if not place.exists():
        raise CheckpointError(f"no such checkpoint: {path}")
    if place.is_dir():
        if not (place / ".metadata").is_file():
            raise CheckpointError(f"{path} is not a checkpoint of prismaudio fit: a sharded one has a file .metadata")
        check_shards(place)
        return
    with place.open("rb") as file:
        is_zip = file.read(2) == b"PK"
    found = None
    if is_zip:
        read_weights(place)  # which says what is wrong with a damaged one
        found = load_plain(place, mmap=True)
    if not isinstance(found, dict) or not all(key in found for key in NEEDED):
        raise CheckpointError(f"{path} is not a checkpoint of prismaudio fit, or it is damaged")


def last_checkpoint(trainer: Trainer) -> str:
    """The ``last.ckpt`` of a run that was written last, whichever version of the run wrote it.

    Lightning itself looks only into the folder of the version that is about to begin, and begins anew. If that file is
    damaged, it is the newest whole checkpoint of the run.

    Raises:
        CheckpointError: There is none.
    """
    callbacks = [callback for callback in trainer.checkpoint_callbacks if isinstance(callback, ModelCheckpoint)]
    named = [Path(callback.dirpath) for callback in callbacks if callback.dirpath]
    root, versions = run_folders(trainer)
    folders = [*named, *(version / "checkpoints" for version in versions)]
    found = newest_first([path for folder in folders for name in LAST for path in folder.glob(name)])
    if not found:
        raise CheckpointError(
            f"there is no last.ckpt in {' or '.join(map(str, [*named, root]))}, where ModelCheckpoint with save_last "
            "writes it; give the path of a checkpoint, or leave --ckpt_path out to begin anew"
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
            sys.stderr.write(f"warning: {' '.join(str(first).split())}; going on from {path} instead\n")
        return str(path)
    raise first or CheckpointError(f"{found[0]} is damaged")


def newest_first(paths: Iterable[Path]) -> list[Path]:
    """Checkpoints by the time when they were written; a sharded one is a folder, and complete once it has a file."""
    written = {path: path / ".metadata" if path.is_dir() else path for path in paths}
    times = {path: file.stat().st_mtime_ns for path, file in written.items() if file.is_file()}
    return sorted(times, key=times.__getitem__, reverse=True)


def run_folders(trainer: Trainer) -> tuple[Path, list[Path]]:
    """The folder of a run, and those of its versions; only one version if it is named or there already."""
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
        The differences; none if nothing was being loaded.
    """
    if all(frame.f_code.co_name != "load_state_dict" for frame, _ in traceback.walk_tb(error.__traceback__)):
        return []
    place = expanded(path)
    weights = load_plain(place, mmap=True)["state_dict"] if place.is_file() else {}
    return misfits_of_task(weights, model) or [one_line(error)]


def misfits_of_task(weights: Mapping[str, Tensor], task: LightningModule) -> list[str]:
    """Differences between the weights of a checkpoint and those of a task."""
    expected = task.state_dict()
    if not task.strict_loading:  # what is not in the checkpoint was not trained
        expected = {key: value for key, value in expected.items() if key in weights}
    return misfits(shapes_of(weights), shapes_of(expected))
