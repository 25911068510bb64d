"""Reading files of weights that somebody else wrote: tensors by name, and nothing that runs code."""

from __future__ import annotations

import hashlib
import pickle
import re
import warnings
import zipfile
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from prismaudio.errors import CheckpointError

if TYPE_CHECKING:
    from pathlib import Path

WRAPPERS = ("state_dict", "model")
"""Under which of its names a file may hold the weights, beside what else a training left in it."""
_SCALAR = np.float64(0).__reduce__()[0]
_NUMBERS: list[Any] = [
    np.dtype,
    *(type(np.dtype(kind)) for kind in ("float64", "float32", "int64")),
    *((_SCALAR, f"numpy.{core}.multiarray.scalar") for core in ("core", "_core")),
]
"""What a file needs that holds losses as numpy's numbers beside its weights; these run no code."""
LISTED = 20
"""Problems that an error lists; of more, it says how many there are."""


def read_weights(path: Path) -> dict[str, Tensor]:
    """Tensors of a ``.safetensors`` file, or of one that ``torch.save`` wrote, mapped into memory rather than read.

    Args:
        path: The file. What is under ``state_dict`` or ``model`` in it counts, if there is such a thing.

    Raises:
        CheckpointError: There is no such file, it is damaged, it holds no weights, or it would run code.
    """
    if not path.is_file():
        raise CheckpointError(f"no such file: {path}")
    with path.open("rb") as file:
        head = file.read(9)
    if not head:
        raise CheckpointError(f"{path} is empty (0 bytes); expected weights")
    if head.startswith(b"PK"):
        found = _unpickled(path, mmap=True)
    elif head.startswith(b"\x80"):  # as torch wrote them before version 1.6
        found = _unpickled(path, mmap=False)
    elif head[8:] == b"{":
        found = _safetensors(path)
    else:
        raise CheckpointError(f"{path} is not a file of weights; expected .safetensors, .ckpt, .pt or .pth")
    weights = _only_weights(path, found)
    if not weights:
        raise CheckpointError(f"{path} holds no weights")
    return weights


def _safetensors(path: Path) -> dict[str, Tensor]:
    try:
        return load_file(path)
    except (SafetensorError, OSError, ValueError) as error:
        raise CheckpointError(f"{path} is truncated or damaged ({error}); copy or download it again") from error


def _unpickled(path: Path, *, mmap: bool) -> Any:
    if mmap and not zipfile.is_zipfile(path):
        raise CheckpointError(f"{path} is truncated: its end is missing; copy or download it again")
    try:
        with warnings.catch_warnings(), torch.serialization.safe_globals(_NUMBERS):
            warnings.simplefilter("ignore")  # of pickle protocols and old storages
            return torch.load(path, "cpu", weights_only=True, mmap=mmap)
    except pickle.UnpicklingError as error:
        asked = re.search(r"GLOBAL ([\w.]+)", str(error))
        what = f"it asks for {asked[1]}" if asked else "it is not plain tensors"
        raise CheckpointError(
            f"{path} holds pickled code, which is not run ({what}); save its tensors alone, best as .safetensors"
        ) from error
    except (RuntimeError, EOFError, OSError, ValueError, KeyError, AttributeError, TypeError) as error:
        reason = str(error).splitlines()[0][:200] if str(error) else type(error).__name__
        raise CheckpointError(f"{path} is truncated or damaged ({reason}); copy or download it again") from error


def _only_weights(path: Path, found: Any) -> dict[str, Tensor]:
    for wrapper in WRAPPERS:
        if isinstance(found, Mapping) and isinstance(found.get(wrapper), Mapping):
            found = found[wrapper]
            break
    if not isinstance(found, Mapping):
        raise CheckpointError(f"{path} holds a {type(found).__name__}; expected tensors by name")
    return {str(key): value for key, value in found.items() if isinstance(value, Tensor)}


def below(weights: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """The weights whose names begin with a prefix, by the rest of their names.

    Example:
        >>> list(below({"a.x": torch.ones(1), "b.x": torch.ones(1)}, "a."))
        ['x']
    """
    return {key.removeprefix(prefix): value for key, value in weights.items() if key.startswith(prefix)}


def misfits(given: Mapping[str, Sequence[int]], expected: Mapping[str, Sequence[int]]) -> list[str]:
    """How weights differ from those that a model has: one line each for what is missing, unknown or misshapen.

    Args:
        given: Shapes of the weights by key.
        expected: Those that the model has.

    Example:
        >>> misfits({"a": (1,), "c": (2,)}, {"a": (3,), "b": (2,)})
        ['missing b', 'unknown c', 'a is (1,), expected (3,)']
    """
    missing = [f"missing {key}" for key in expected if key not in given]
    unknown = [f"unknown {key}" for key in given if key not in expected]
    shapes = [
        f"{key} is {tuple(shape)}, expected {tuple(expected[key])}"
        for key, shape in given.items()
        if key in expected and tuple(shape) != tuple(expected[key])
    ]
    return missing + unknown + shapes


def fill(module: torch.nn.Module, weights: Mapping[str, Tensor], source: object) -> None:
    """Load weights into a network, strictly: all of them, none else, of the right shapes; then it is in eval mode.

    Args:
        module: The network; its parameters will not require gradients.
        weights: Weights by the network's own names.
        source: What the error says does not fit, for example the path of the file.

    Raises:
        CheckpointError: They are not those of this network.
    """
    expected = module.state_dict()
    shapes = [{key: tuple(value.shape) for key, value in some.items()} for some in (weights, expected)]
    if problems := misfits(*shapes):
        raise CheckpointError(f"{source} does not fit {type(module).__name__}: {listed(problems)}")
    module.load_state_dict({key: value.to(expected[key].dtype) for key, value in weights.items()}, assign=True)
    module.eval().requires_grad_(requires_grad=False)


def fingerprint(module: torch.nn.Module, n_values: int = 16) -> str:
    """What tells the weights of a network from others: a hash of their names, shapes and first values.

    Args:
        module: The network.
        n_values: How many values of every weight count; large files need not be read.

    Example:
        >>> layer = torch.nn.Linear(2, 2)
        >>> before = fingerprint(layer)
        >>> torch.nn.init.zeros_(layer.bias)[0].item(), fingerprint(layer) == before
        (0.0, False)
    """
    digest = hashlib.blake2b(digest_size=16)
    for name, value in module.state_dict().items():
        digest.update(repr((name, tuple(value.shape), value.flatten()[:n_values].tolist())).encode())
    return digest.hexdigest()


def listed(problems: Sequence[str]) -> str:
    """Problems in one line, of many only the first, a fair share of each kind.

    Example:
        >>> listed(["missing a", "unknown b"])
        'missing a; unknown b'
        >>> listed([f"missing {i}" for i in range(300)])[-40:]
        'missing 19; … and 280 more (300 missing)'
    """
    if len(problems) <= LISTED:
        return "; ".join(problems)
    kinds: dict[str, list[str]] = {}
    for problem in problems:
        kind = problem.partition(" ")[0]
        kinds.setdefault(kind if kind in ("missing", "unknown") else "misshapen", []).append(problem)
    share = LISTED // len(kinds)
    shown = [problem for some in kinds.values() for problem in some[:share]]
    counts = ", ".join(f"{len(some)} {kind}" for kind, some in kinds.items())
    return f"{'; '.join(shown)}; … and {len(problems) - len(shown)} more ({counts})"
