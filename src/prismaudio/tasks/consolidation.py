"""Weights of a checkpoint of ``prismaudio fit``, from one file or from the shards of many processes."""

from __future__ import annotations

import pickle
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.distributed.checkpoint.api import CheckpointException
from torch.distributed.checkpoint.default_planner import _EmptyStateDictLoadPlanner
from torch.distributed.checkpoint.filesystem import FileSystemReader
from torch.distributed.checkpoint.state_dict_loader import _load_state_dict

from prismaudio.errors import CheckpointError

if TYPE_CHECKING:
    from pathlib import Path


def load_weights(path: Path) -> dict[str, Tensor]:
    """Weights by name, whole, on the CPU; needs neither the number of processes nor the hardware of the run.

    Args:
        path: A ``.ckpt`` file, or the folder that a sharded run writes. Take such folders only from whom you trust:
            torch reads their table of contents with pickle.

    Raises:
        CheckpointError: There is no such checkpoint, or it is damaged.
    """
    try:
        if path.is_dir():
            return _sharded(path)
        return torch.load(path, map_location="cpu", weights_only=True, mmap=True)["state_dict"]
    except (OSError, KeyError, TypeError, RuntimeError, EOFError, pickle.UnpicklingError, CheckpointException) as error:
        reason = " ".join(str(error).split())[:200]
        raise CheckpointError(f"{path} is not a checkpoint of prismaudio fit, or it is damaged: {reason}") from error


def _sharded(folder: Path) -> dict[str, Tensor]:
    # what torch's own dcp_to_torch_save does, without the file
    if not (folder / ".metadata").is_file():
        raise FileNotFoundError("it has no .metadata")
    loaded: dict[str, dict[str, Tensor]] = {}
    planner = _EmptyStateDictLoadPlanner(keys={"state_dict"})
    _load_state_dict(loaded, storage_reader=FileSystemReader(folder), planner=planner, no_dist=True)
    return loaded["state_dict"]
