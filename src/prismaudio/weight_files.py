"""Files of weights: those that somebody else wrote run no code, and take no more memory than they hold."""

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
from typing import Any, BinaryIO

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from prismaudio.errors import CheckpointError

_DAMAGED = (
    ArithmeticError, AssertionError, AttributeError, EOFError, LookupError, MemoryError, OSError, RuntimeError,
    SafetensorError, TypeError, ValueError, struct.error, zipfile.BadZipFile,
)  # fmt: skip
"""What torch, zipfile and safetensors raise where bytes are not what they expect."""
WRAPPERS = ("state_dict", "model")
"""Under which of its names a file may hold the weights, beside what else a training left in it."""
_SCALAR = np.float64(0).__reduce__()[0]
_NUMBERS: list[Any] = [
    np.dtype,
    *(type(np.dtype(kind)) for kind in ("float64", "float32", "int64")),
    *((_SCALAR, f"numpy.{core}.multiarray.scalar") for core in ("core", "_core")),
]
"""What a file needs that holds losses as numpy's numbers beside its weights; these run no code."""
MAX_SHARE = 4
"""Memory that weights may take, over that of the numbers behind them: tied weights stand in a file once."""
LISTED = 14
"""Problems that an error lists; of more, it says how many there are."""
LISTED_LETTERS = 120
"""Letters of a problem that it says."""


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
        found = read_safetensors(path)
    else:
        raise CheckpointError(f"{path} is not a file of weights; expected .safetensors, .ckpt, .pt or .pth")
    weights = _only_weights(path, found)
    if not weights:
        raise CheckpointError(f"{path} holds no weights")
    return weights


def _unpickled(path: Path, *, mmap: bool) -> Any:
    try:
        return load_plain(path, mmap=mmap)
    except CheckpointError as error:
        raise CheckpointError(f"{path} {error}") from error


def read_safetensors(path: Path) -> dict[str, Tensor]:
    """Tensors of a ``.safetensors`` file.

    Args:
        path: The file.

    Raises:
        CheckpointError: It cannot be read, is damaged, or is of another format.
    """
    try:
        return load_file(path)
    except _DAMAGED as error:
        raise CheckpointError(
            f"{path} is truncated, damaged or no .safetensors file ({_line(error)}); copy or download it again"
        ) from error


def save_tensors(tensors: Mapping[str, Tensor], path: Path, metadata: Mapping[str, str] | None = None) -> None:
    """Write a ``.safetensors`` file that whoever the umask says can read; safetensors makes it the owner's alone.

    Args:
        tensors: Tensors by name, contiguous and on the CPU.
        path: The file; what is there is replaced.
        metadata: Text to put beside them.
    """
    path.touch()
    mode = path.stat().st_mode
    save_file(dict(tensors), path, None if metadata is None else dict(metadata))
    path.chmod(mode)


def load_plain(file: Path | BinaryIO, *, mmap: bool = False) -> Any:
    """What ``torch.save`` wrote, if that is plain data: tensors, numbers, words and containers of them.

    Args:
        file: The file, or an open one.
        mmap: Map it into memory; needs a path, and an archive.

    Raises:
        CheckpointError: It is damaged, or it holds anything else, which is not run; the text is for after a name.
    """
    try:
        if mmap or not isinstance(file, Path) or zipfile.is_zipfile(file):
            check_archive(file)
        else:  # as torch wrote them before version 1.6
            with file.open("rb") as opened, mapped(opened.fileno(), 0, access=ACCESS_READ) as data:
                _refuse_growing(data.find(b"bytearray") >= 0)
        if not isinstance(file, Path):
            file.seek(0)
        with warnings.catch_warnings(), torch.serialization.safe_globals(_NUMBERS):
            warnings.simplefilter("ignore")  # of pickle protocols and old storages
            return torch.load(file, "cpu", weights_only=True, mmap=mmap)
    except pickle.UnpicklingError as error:
        asked = re.search(r"GLOBAL ([\w.]+)", str(error))
        what = f"it asks for {asked[1]}" if asked else "it is not plain tensors"
        raise CheckpointError(
            f"holds pickled code, which is not run ({what}); save its tensors alone, best as .safetensors"
        ) from error
    except _DAMAGED as error:
        raise CheckpointError(f"is truncated or damaged ({_line(error)}); copy or download it again") from error


def check_archive(file: Path | BinaryIO) -> None:
    """See that an archive is one of ``torch.save``: nothing in it is compressed, or grows when it is read.

    Raises:
        CheckpointError: It is not; the text is for after a name.
    """
    if not zipfile.is_zipfile(file):
        raise CheckpointError("is truncated: its end is missing; copy or download it again")
    with zipfile.ZipFile(file) as archive:
        for member in archive.infolist():
            if member.compress_type:
                raise CheckpointError(
                    f"has {member.filename!r:.80} compressed, as torch does not; save it with torch.save"
                )
            if member.filename.endswith("/data.pkl"):
                _refuse_growing(b"bytearray" in archive.read(member))


def _refuse_growing(has_bytearray: bool) -> None:  # noqa: FBT001
    """Refuse the one thing that torch makes of a number alone, at any size."""
    if has_bytearray:
        raise CheckpointError("holds a bytearray, which may be of any size; expected tensors")


def _line(error: BaseException) -> str:
    """What an error says, in one line; torch's own words for too little memory are half a page."""
    text = str(error).splitlines()[0][:200] if str(error) else type(error).__name__
    return "it declares more than fits into memory" if "memory" in text.lower() else text


def _only_weights(path: Path, found: Any) -> dict[str, Tensor]:
    for wrapper in WRAPPERS:
        if isinstance(found, Mapping) and isinstance(found.get(wrapper), Mapping):
            found = found[wrapper]
            break
    if not isinstance(found, Mapping):
        raise CheckpointError(f"{path} holds a {type(found).__name__}; expected tensors by name")
    weights = {str(key): value for key, value in found.items() if isinstance(value, Tensor)}
    odd = [key for key, value in weights.items() if value.layout is not torch.strided or value.device.type != "cpu"]
    if odd or any(value.is_quantized for value in weights.values()):
        raise CheckpointError(f"{path} holds sparse, quantised or empty tensors; expected plain ones")
    return weights


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


def shapes_of(weights: Mapping[str, Tensor]) -> dict[str, tuple[int, ...]]:
    """Shapes of weights by name."""
    return {key: tuple(value.shape) for key, value in weights.items()}


def check_fit(
    given: Mapping[str, Sequence[int]], expected: Mapping[str, Sequence[int]], source: object, network: str
) -> None:
    """See that weights are those of a network, by their names and shapes.

    Args:
        given: Shapes of the weights.
        expected: Those that the network has.
        source: What the error says does not fit, for example the path of the file.
        network: What the network is called.

    Raises:
        CheckpointError: They are not; the text lists how they differ.
    """
    if problems := misfits(given, expected):
        raise CheckpointError(f"{source} does not fit {network}: {listed(problems)}")


def check_held(weights: Mapping[str, Tensor], source: object) -> None:
    """See that a file has the numbers that its weights declare: a view of one number can be of any shape.

    Args:
        weights: Weights by name.
        source: What the error names, for example the path of the file.

    Raises:
        CheckpointError: It has not.

    Example:
        >>> check_held({"a": torch.ones(1).expand(1000, 1000)}, "x.ckpt")
        Traceback (most recent call last):
        prismaudio.errors.CheckpointError: x.ckpt declares 4,000,000 bytes of weights, but holds 4
    """
    declared = sum(value.numel() * value.element_size() for value in weights.values())
    stored = {value.untyped_storage().data_ptr(): value.untyped_storage().nbytes() for value in weights.values()}
    if declared > MAX_SHARE * sum(stored.values()):
        raise CheckpointError(f"{source} declares {declared:,} bytes of weights, but holds {sum(stored.values()):,}")


def check_finite(weights: Mapping[str, Tensor], source: object) -> None:
    """See that weights are numbers: neither NaN nor infinite, with which a network gives silence or noise.

    Args:
        weights: Weights by name.
        source: What the error names, for example the path of the file.

    Raises:
        CheckpointError: Some are not; the text lists them.
    """
    if lost := [key for key, value in weights.items() if not _is_finite(value)]:
        more = f" and {len(lost) - 1} more of its {len(weights)} tensors" if len(lost) > 1 else ""
        raise CheckpointError(
            f"{source}: it holds NaN or infinity in {lost[0][:LISTED_LETTERS]}{more}; did its training diverge?"
        )


def _is_finite(value: Tensor) -> bool:
    if value.is_complex():
        value = torch.view_as_real(value.resolve_conj())
    if not value.is_floating_point() or not value.numel() or value.is_meta:
        return True
    # one pass without a temporary of its size; there is none for numbers of eight bits
    lowest, highest = torch.aminmax(value.float() if value.element_size() == 1 else value)
    return bool(lowest.isfinite() and highest.isfinite())


def fill(module: torch.nn.Module, weights: Mapping[str, Tensor], source: object) -> None:
    """Load weights into a network, strictly: all of them, none else, of the right shapes; then it is in eval mode.

    Args:
        module: The network; its parameters will not require gradients.
        weights: Weights by the network's own names.
        source: What the error says does not fit, for example the path of the file.

    Raises:
        CheckpointError: They are not those of this network, not finite, or not there.
    """
    expected = module.state_dict()
    check_fit(shapes_of(weights), shapes_of(expected), source, type(module).__name__)
    check_held(weights, source)
    check_finite(weights, source)
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
        'missing 13; … and 286 more (300 missing)'
    """
    problems = [problem if len(problem) <= LISTED_LETTERS else f"{problem[:LISTED_LETTERS]}…" for problem in problems]
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
