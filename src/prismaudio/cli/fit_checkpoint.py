"""What is wrong with the checkpoint that a run is to go on from."""

from __future__ import annotations

import re
from pathlib import Path

import torch

from prismaudio.errors import CheckpointError
from prismaudio.weight_files import read_weights

WORDS = ("last", "best", "hpc")
"""What Lightning takes instead of a path."""
NEEDED = ("state_dict", "pytorch-lightning_version")
GROUP = re.compile(r"(Missing|Unexpected) key\(s\) in state_dict: (.*)")
SIZE = re.compile(r"size mismatch for (\S+): .*?(\[[\d, ]*\]).*?(\[[\d, ]*\])")
OPTIMIZER = re.compile(r"loaded state dict (?:has|contains) .*")
"""Parts of the reports of torch."""


def check_checkpoint(path: str | None) -> None:
    """See that a checkpoint is one of ``prismaudio fit``, before anything is built.

    Raises:
        CheckpointError: It is not, or it is damaged, or not there.
    """
    if not path or path in WORDS or "://" in path or path.startswith("registry"):
        return
    place = Path(path).expanduser()
    if not place.exists():
        raise CheckpointError(f"no such checkpoint: {path}")
    if place.is_dir():
        if not (place / ".metadata").is_file():
            raise CheckpointError(f"{path} is not a checkpoint of prismaudio fit: a sharded one has a file .metadata")
        return
    with place.open("rb") as file:
        is_zip = file.read(2) == b"PK"
    found = None
    if is_zip:
        read_weights(place)  # which says what is wrong with a damaged one
        found = torch.load(place, "cpu", weights_only=True, mmap=True)
    if not isinstance(found, dict) or not all(key in found for key in NEEDED):
        raise CheckpointError(f"{path} is not a checkpoint of prismaudio fit, or it is damaged")


def misloaded(report: str) -> list[str]:
    """Problems in torch's report on weights that could not be loaded; none if it is about something else.

    Example:
        >>> misloaded('Missing key(s) in state_dict: "a", "b". ')
        ['missing a', 'missing b']
    """
    problems = []
    for line in report.splitlines():
        if found := GROUP.search(line):
            word = {"Missing": "missing", "Unexpected": "unknown"}[found[1]]
            problems += [f"{word} {key}" for key in re.findall(r'"([^"]+)"', found[2])]
        elif found := SIZE.search(line):
            problems.append(f"{found[1]} is {found[2]}, expected {found[3]}")
        elif found := OPTIMIZER.search(line):
            problems.append(f"the optimizer's {found[0]}")
    return problems
