"""Atomic writing of checkpoints: to a temporary name in the same folder, and renamed when complete."""

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
"""Suffix of the hidden name of a folder while it is being replaced."""


class WholeCheckpointIO(TorchCheckpointIO):
    """Writes single-file checkpoints to a local disk atomically; remote ones are left to Lightning.

    Lightning itself writes to ``$TMPDIR`` and moves the file, which is not atomic between file systems.
    """

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any | None = None) -> None:
        """Write a checkpoint, completely or not at all.

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
            cause = _os_error(error)
            if cause is None:
                raise
            raise CheckpointError(
                f"cannot write the checkpoint {target}: {reason(cause)}; earlier checkpoints are complete"
            ) from error


def temporary(target: Path) -> Path:
    """A unique hidden name in the folder of a checkpoint."""
    return target.with_name(f".{target.name}.{secrets.token_hex(4)}.part")


def replace(part: Path, target: Path) -> None:
    """Give a finished file or folder its final name.

    An existing target is moved aside first if either is a folder, since folders cannot be replaced atomically.
    """
    previous = target.with_name(f".{target.name}{PREVIOUS}")
    is_folder = part.is_dir() or (target.is_dir() and not target.is_symlink())
    if is_folder and (target.exists() or target.is_symlink()):
        _remove(previous)
        target.rename(previous)
    os.replace(part, target)  # noqa: PTH105 - for files and folders
    flush(target.parent)
    _remove(previous)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def _os_error(error: BaseException) -> OSError | None:
    """The error of the operating system that torch reports as an error of its own."""
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, OSError):
        cause = cause.__cause__ or cause.__context__
    return cause
