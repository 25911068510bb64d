"""Reading and writing of weight files; untrusted files execute no code and use no more memory than their size."""

from __future__ import annotations

import hashlib
import pickle
import re
import struct
import warnings
import zipfile
from collections.abc import Mapping, Sequence
from mmap import ACCESS_READ
from mmap import mmap as mapped
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from prismaudio.errors import CheckpointError

Value = TypeVar("Value")
_DAMAGED = (
    ArithmeticError, AssertionError, AttributeError, EOFError, LookupError, MemoryError, OSError, RuntimeError,
    SafetensorError, TypeError, ValueError, struct.error, zipfile.BadZipFile,
)  # fmt: skip
"""Exceptions of torch, zipfile and safetensors for damaged files."""
WRAPPERS = ("state_dict", "model")
"""Keys of a training checkpoint under which the weights may be stored."""


class SkippedArray:
    """Stands for a NumPy array beside the weights, such as the order of training examples, which is not read."""

    def __init__(self, *_: object) -> None: ...

    def __setstate__(self, state: object) -> None: ...


_SCALAR = np.float64(0).__reduce__()[0]
_NUMBERS: list[Any] = [
    np.dtype,
    *(type(np.dtype(kind)) for kind in ("float64", "float32", "int64", "int32", "bool")),
    *((_SCALAR, f"numpy.{core}.multiarray.scalar") for core in ("core", "_core")),
    *((SkippedArray, f"numpy.{core}.multiarray._reconstruct") for core in ("core", "_core")),
    (SkippedArray, "numpy.ndarray"),
]
"""NumPy types that checkpoints with logged losses or arrays need for unpickling; they execute no code."""
MAX_SHARE = 4
"""Maximum ratio of the declared size of weights to the stored size; tied weights are stored once."""
LISTED = 14
"""Maximum number of problems that an error lists; the rest are counted."""
LISTED_LETTERS = 120
"""Maximum length of a listed problem, in characters."""


def read_weights(path: Path) -> dict[str, Tensor]:
    """Read the tensors of a ``.safetensors`` file or of a ``torch.save`` file, memory-mapped where possible.

    Args:
        path: The file. If it has a key ``state_dict`` or ``model``, the tensors under that key are returned.

    Raises:
        CheckpointError: The file is missing or damaged, contains no weights, or requires code execution.
    """
    if not path.is_file():
        raise CheckpointError(f"no such file: {path}")
    with path.open("rb") as file:
        head = file.read(9)
    if not head:
        raise CheckpointError(f"{path} is empty (0 bytes); expected weights")
    if head.startswith(b"PK"):
        found = _unpickled(path, mmap=True)
    elif head.startswith(b"\x80"):  # format of torch before version 1.6
        found = _unpickled(path, mmap=False)
    elif head[8:] == b"{":
        found = read_safetensors(path)
    else:
        raise CheckpointError(f"{path} is not a weight file; expected .safetensors, .ckpt, .pt or .pth")
    weights = _only_weights(path, found)
    if not weights:
        raise CheckpointError(f"{path} contains no weights; expected tensors by name")
    return weights


def _unpickled(path: Path, *, mmap: bool) -> Any:
    try:
        return load_plain(path, mmap=mmap)
    except CheckpointError as error:
        raise CheckpointError(f"{path} {error}") from error


def read_safetensors(path: Path) -> dict[str, Tensor]:
    """Read the tensors of a ``.safetensors`` file.

    Args:
        path: The file.

    Raises:
        CheckpointError: The file cannot be read, is damaged, or has another format.
    """
    try:
        return load_file(path)
    except _DAMAGED as error:
        raise CheckpointError(
            f"{path} is truncated, damaged or not a .safetensors file ({_line(error)}); copy or download it again"
        ) from error


def save_tensors(tensors: Mapping[str, Tensor], path: Path, metadata: Mapping[str, str] | None = None) -> None:
    """Write a ``.safetensors`` file with permissions according to the umask, not owner-only as safetensors does.

    Args:
        tensors: Tensors by name, contiguous and on the CPU.
        path: The file; an existing one is overwritten.
        metadata: Text metadata of the file.
    """
    path.touch()
    mode = path.stat().st_mode
    save_file(dict(tensors), path, None if metadata is None else dict(metadata))
    path.chmod(mode)


def load_plain(file: Path | BinaryIO, *, mmap: bool = False) -> Any:
    """Load a ``torch.save`` file of plain data: tensors, numbers, strings and containers of them.

    NumPy arrays are not read; a :class:`SkippedArray` stands for each.

    Args:
        file: A path or an open file.
        mmap: Memory-map the file; requires a path and the zip format.

    Raises:
        CheckpointError: The file is damaged or contains other objects, which are not unpickled; the message continues
            a sentence that begins with the file's name.
    """
    try:
        if mmap or not isinstance(file, Path) or zipfile.is_zipfile(file):
            check_archive(file)
        else:  # format of torch before version 1.6
            with file.open("rb") as opened, mapped(opened.fileno(), 0, access=ACCESS_READ) as data:
                _reject_bytearray(data.find(b"bytearray") >= 0)
        if not isinstance(file, Path):
            file.seek(0)
        with warnings.catch_warnings(), torch.serialization.safe_globals(_NUMBERS):
            warnings.simplefilter("ignore")  # about pickle protocols and old storages
            return torch.load(file, "cpu", weights_only=True, mmap=mmap)
    except pickle.UnpicklingError as error:
        required = re.search(r"GLOBAL ([\w.]+)", str(error))
        what = f"it requires {required[1]}" if required else "it does not contain plain tensors"
        raise CheckpointError(
            f"contains pickled code, which is not executed ({what}); save only the tensors, preferably as .safetensors"
        ) from error
    except _DAMAGED as error:
        raise CheckpointError(f"is truncated or damaged ({_line(error)}); copy or download it again") from error


def check_archive(file: Path | BinaryIO) -> None:
    """Check that an archive has the layout of ``torch.save``: nothing is compressed or expands when it is read.

    Raises:
        CheckpointError: It has not; the message continues a sentence that begins with the file's name.
    """
    if not zipfile.is_zipfile(file):
        raise CheckpointError("is truncated: its end is missing; copy or download it again")
    with zipfile.ZipFile(file) as archive:
        for member in archive.infolist():
            if member.compress_type:
                raise CheckpointError(
                    f"contains a compressed {member.filename!r:.80}, unlike archives of torch; save it with torch.save"
                )
            if member.filename.endswith("/data.pkl"):
                _reject_bytearray(b"bytearray" in archive.read(member))


def _reject_bytearray(has_bytearray: bool) -> None:  # noqa: FBT001
    """Reject bytearrays, which unpickling allocates at any size from a single number."""
    if has_bytearray:
        raise CheckpointError("contains a bytearray, which may have any size; expected tensors")


def _line(error: BaseException) -> str:
    """The first line of an error message; torch's long out-of-memory message is replaced."""
    text = str(error).splitlines()[0][:200] if str(error) else type(error).__name__
    return "it declares more than fits into memory" if "memory" in text.lower() else text


def _only_weights(path: Path, found: Any) -> dict[str, Tensor]:
    for wrapper in WRAPPERS:
        if isinstance(found, Mapping) and isinstance(found.get(wrapper), Mapping):
            found = found[wrapper]
            break
    if not isinstance(found, Mapping):
        raise CheckpointError(f"{path} contains a {type(found).__name__}; expected tensors by name")
    weights = {str(key): value for key, value in found.items() if isinstance(value, Tensor)}
    odd = [key for key, value in weights.items() if value.layout is not torch.strided or value.device.type != "cpu"]
    if odd or any(value.is_quantized for value in weights.values()):
        raise CheckpointError(f"{path} contains sparse, quantised or empty tensors; expected dense ones")
    return weights


def below(weights: Mapping[str, Value], prefix: str) -> dict[str, Value]:
    """Select the weights, or their shapes, whose names begin with a prefix, and strip it.

    Example:
        >>> list(below({"a.x": torch.ones(1), "b.x": torch.ones(1)}, "a."))
        ['x']
    """
    return {key.removeprefix(prefix): value for key, value in weights.items() if key.startswith(prefix)}


def misfits(given: Mapping[str, Sequence[int]], expected: Mapping[str, Sequence[int]]) -> list[str]:
    """Differences between given and expected weights: one line for each missing, unknown or misshapen tensor.

    Args:
        given: Shapes of the weights by key.
        expected: Shapes in the model by key.

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


def shapes_of(weights: Mapping[str, Tensor]) -> dict[str, tuple[int, ...]]:
    """Shapes of weights by name."""
    return {key: tuple(value.shape) for key, value in weights.items()}


def check_fit(
    given: Mapping[str, Sequence[int]], expected: Mapping[str, Sequence[int]], source: object, network: str
) -> None:
    """Check that weights have the names and shapes of those of a network.

    Args:
        given: Shapes of the weights.
        expected: Shapes in the network.
        source: Subject of the error message, for example the path of the file.
        network: Name of the network.

    Raises:
        CheckpointError: They differ; the message lists the differences.
    """
    if problems := misfits(given, expected):
        raise CheckpointError(f"{source} does not fit {network}: {listed(problems)}")


def check_held(weights: Mapping[str, Tensor], source: object) -> None:
    """Check that a file stores as much data as its weights declare, for a view of one value can have any shape.

    Args:
        weights: Weights by name.
        source: Subject of the error message, for example the path of the file.

    Raises:
        CheckpointError: The weights declare more than :data:`MAX_SHARE` times the stored size.

    Example:
        >>> check_held({"a": torch.ones(1).expand(1000, 1000)}, "x.ckpt")
        Traceback (most recent call last):
        prismaudio.errors.CheckpointError: x.ckpt declares 4,000,000 bytes of weights, but stores 4
    """
    declared = sum(value.numel() * value.element_size() for value in weights.values())
    stored = {value.untyped_storage().data_ptr(): value.untyped_storage().nbytes() for value in weights.values()}
    if declared > MAX_SHARE * sum(stored.values()):
        raise CheckpointError(f"{source} declares {declared:,} bytes of weights, but stores {sum(stored.values()):,}")


def check_finite(weights: Mapping[str, Tensor], source: object) -> None:
    """Check that weights are neither NaN nor infinite.

    Args:
        weights: Weights by name.
        source: Subject of the error message, for example the path of the file.

    Raises:
        CheckpointError: A weight is not finite; the message gives its name.
    """
    if lost := [key for key, value in weights.items() if not _is_finite(value)]:
        more = f" and {len(lost) - 1} more of its {len(weights)} tensors" if len(lost) > 1 else ""
        raise CheckpointError(
            f"{source}: NaN or infinity in {lost[0][:LISTED_LETTERS]}{more}; did the training diverge?"
        )


def _is_finite(value: Tensor) -> bool:
    if value.is_complex():
        value = torch.view_as_real(value.resolve_conj())
    if not value.is_floating_point() or not value.numel() or value.is_meta:
        return True
    # aminmax needs no temporary tensor of the same size, but does not support 8-bit types
    lowest, highest = torch.aminmax(value.float() if value.element_size() == 1 else value)
    return bool(lowest.isfinite() and highest.isfinite())


def fill(module: torch.nn.Module, weights: Mapping[str, Tensor], source: object) -> None:
    """Load weights into a network with strict names and shapes, and set it to evaluation mode without gradients.

    Args:
        module: The network.
        weights: Weights by the network's own names.
        source: Subject of the error message, for example the path of the file.

    Raises:
        CheckpointError: The weights do not fit the network, are not finite, or are not stored in full.
    """
    expected = module.state_dict()
    check_fit(shapes_of(weights), shapes_of(expected), source, type(module).__name__)
    check_held(weights, source)
    check_finite(weights, source)
    module.load_state_dict({key: value.to(expected[key].dtype) for key, value in weights.items()}, assign=True)
    module.eval().requires_grad_(requires_grad=False)


def fingerprint(module: torch.nn.Module, n_values: int = 16) -> str:
    """Hash of the names, shapes and first values of a network's weights, which identifies them.

    Args:
        module: The network.
        n_values: Number of values of each weight that are hashed, so that large files need not be read.

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
    """Join problems to one line; of a long list only the first of each kind are shown.

    Example:
        >>> listed(["missing a", "unknown b"])
        'missing a; unknown b'
        >>> listed([f"missing {i}" for i in range(300)])[-40:]
        'missing 13; … and 286 more (300 missing)'
    """
    problems = [problem if len(problem) <= LISTED_LETTERS else f"{problem[:LISTED_LETTERS]}…" for problem in problems]
    if len(problems) <= LISTED:
        return "; ".join(problems)
    kinds: dict[str, list[str]] = {}
    for problem in problems:
        kind = problem.partition(" ")[0]
        kinds.setdefault(kind if kind in ("missing", "unknown") else "misshapen", []).append(problem)
    n_shown = LISTED // len(kinds)
    shown = [problem for group in kinds.values() for problem in group[:n_shown]]
    counts = ", ".join(f"{len(group)} {kind}" for kind, group in kinds.items())
    return f"{'; '.join(shown)}; … and {len(problems) - len(shown)} more ({counts})"
