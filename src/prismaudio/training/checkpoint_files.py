"""Checkpoints are written beside their final place and renamed: what has that name is whole, whatever happens."""

from __future__ import annotations

import os
import secrets
import shutil
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch.plugins.io import TorchCheckpointIO

from prismaudio.data.sharing import flush, remove_left_over
from prismaudio.errors import CheckpointError, reason

PREVIOUS = ".previous"
"""End of the hidden name that a folder has while another one takes its place."""


class WholeCheckpointIO(TorchCheckpointIO):
    """Writes checkpoints of one file, on a disk; those in the cloud are written as Lightning does.

    Lightning itself writes to ``$TMPDIR`` and moves, which is a copy where that is another file system.
    """

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any | None = None) -> None:
        """Write a checkpoint, whole or not at all.

        Raises:
            CheckpointError: The folder cannot be written to, or is full.
        """
        if "://" in str(path) or storage_options is not None:
            super().save_checkpoint(checkpoint, path, storage_options)
            return
        target = Path(path)
        part = temporary(target)
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            remove_left_over(target.parent.glob(".*.part"))
            try:
                with part.open("xb") as file:
                    torch.save(checkpoint, file)
                flush(part)
                replace(part, target)
            finally:
                part.unlink(missing_ok=True)
        except (OSError, RuntimeError) as error:
            cause = _of_the_system(error)
            if cause is None:
                raise
            raise CheckpointError(
                f"cannot write the checkpoint {target}: {reason(cause)}; those that were written before are whole"
            ) from error


def temporary(target: Path) -> Path:
    """A hidden name beside a checkpoint, which no other process uses."""
    return target.with_name(f".{target.name}.{secrets.token_hex(4)}.part")


def replace(part: Path, target: Path) -> None:
    """Give a finished file or folder its final name.

    What has that name already is moved aside first if one of both is a folder, which cannot be replaced at once.
    """
    previous = target.with_name(f".{target.name}{PREVIOUS}")
    is_folder = part.is_dir() or (target.is_dir() and not target.is_symlink())
    if is_folder and (target.exists() or target.is_symlink()):
        _remove(previous)
        target.rename(previous)
    os.replace(part, target)  # noqa: PTH105 - of files and folders
    flush(target.parent)
    _remove(previous)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def _of_the_system(error: BaseException) -> OSError | None:
    """What the system refused, where torch reports on it with an error of its own."""
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, OSError):
        cause = cause.__cause__ or cause.__context__
    return cause
