"""Weights of a checkpoint of ``prismaudio fit``, from one file or from the shards of many processes.

The table of contents of a sharded checkpoint is a pickle, and unpickling can execute code. It is read here by an
unpickler that accepts only the names that torch writes there, and validated against the files.
"""

from __future__ import annotations

import io
import math
import os
import pickle
import pickletools
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, BinaryIO, Never

import torch
from torch import Tensor

from prismaudio.errors import CheckpointError, one_line
from prismaudio.weight_files import check_archive, load_plain, read_weights

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

CONTENTS, REST = ".metadata", "meta.pt"
"""The table of contents of a sharded checkpoint, and the file with the rest, neither weights nor optimizer states."""
MAX_CONTENTS_BYTES = 1 << 28
"""Maximum size of a table of contents; with 2,000 tensors in 8 processes it has 3 MB."""
MAX_INDEX = 100_000
"""Maximum length of a list in a checkpoint, such as the parameter groups of an optimizer."""
STATE = "state_dict."


# The table of contents ------------------------------------------------------------------------------------------------
class _Fixed(type):
    """Metaclass of classes whose attributes a pickle cannot set."""

    def __setattr__(cls, name: str, value: object) -> Never:
        raise pickle.UnpicklingError(f"it sets the attribute {name} of a class")


class _Record(metaclass=_Fixed):
    """Stand-in for an object of torch, with its attributes and without its methods."""

    def __setstate__(self, state: object) -> None:
        self.__dict__.update(state if isinstance(state, dict) else {"state": state})


class _Unused(metaclass=_Fixed):
    """Stand-in for objects that are not used."""

    def __new__(cls, *_: object) -> None:  # type: ignore[misc]
        """Return None."""
        return


class _Contents(_Record): ...


class _Chunked(_Record): ...


class _Object(_Record): ...


class _Chunk(_Record): ...


class _Index(_Record): ...


class _Properties(_Record): ...


class _Place(_Record): ...


_METADATA = "torch.distributed.checkpoint.metadata"
KNOWN: dict[tuple[str, str], Any] = {
    (_METADATA, "Metadata"): _Contents,
    (_METADATA, "TensorStorageMetadata"): _Chunked,
    (_METADATA, "BytesStorageMetadata"): _Object,
    (_METADATA, "ChunkStorageMetadata"): _Chunk,
    (_METADATA, "MetadataIndex"): _Index,
    (_METADATA, "TensorProperties"): _Properties,
    ("torch.distributed.checkpoint.filesystem", "_StorageInfo"): _Place,
    (_METADATA, "StorageMeta"): _Record,
    (_METADATA, "_MEM_FORMAT_ENCODING"): _Unused,
    ("torch.serialization", "_get_layout"): _Unused,
    ("pathlib", "PosixPath"): _Unused,
    ("pathlib", "WindowsPath"): _Unused,
    ("pathlib._local", "PosixPath"): _Unused,
    ("pathlib._local", "WindowsPath"): _Unused,
    ("torch", "Size"): tuple,
    **{("torch", name): kind for name, kind in vars(torch).items() if isinstance(kind, torch.dtype)},
}
"""Stand-ins for all names that torch 2.11 to 2.13 write into a table of contents, by module and name."""


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str, /) -> Any:
        """Return the stand-in for a class of torch."""
        if (module, name) not in KNOWN:
            raise pickle.UnpicklingError(f"it refers to {module}.{name}, which torch does not write there")
        return KNOWN[module, name]


def _unpickled(data: bytes) -> Any:
    """Unpickle a table of contents to stand-ins."""
    for n_before, (operation, argument, _) in enumerate(pickletools.genops(data)):
        if operation.name == "LONG_BINPUT" and isinstance(argument, int) and argument > n_before:
            raise pickle.UnpicklingError("a memo index in it is too large")  # would allocate up to 64 GB
    return _Unpickler(io.BytesIO(data)).load()


# Its checks -----------------------------------------------------------------------------------------------------------
class _RangeReader(io.RawIOBase):
    """Reads a byte range of a file as a file."""

    def __init__(self, file: BinaryIO, start: int, length: int) -> None:
        self.file, self.start, self.length, self.at = file, start, length, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        position = offset + {os.SEEK_SET: 0, os.SEEK_CUR: self.at, os.SEEK_END: self.length}[whence]
        if position < 0:
            raise OSError(f"cannot seek to the negative position {position}")
        self.at = position
        return position

    def readinto(self, buffer: Any, /) -> int:
        self.file.seek(self.start + self.at)
        read = self.file.read(max(0, min(len(buffer), self.length - self.at)))
        buffer[: len(read)] = read
        self.at += len(read)
        return len(read)


@dataclass(frozen=True)
class ByteRange:
    """A byte range of a file of shards that stores one object.

    Args:
        path: The file.
        start: Offset of the first byte.
        length: Number of bytes.
    """

    path: Path
    start: int
    length: int

    @contextmanager
    def opened(self) -> Iterator[BinaryIO]:
        """Open the range as a file; bytes are read on demand."""
        with self.path.open("rb") as file, io.BufferedReader(_RangeReader(file, self.start, self.length)) as reader:
            yield reader


@dataclass(frozen=True)
class Shards:
    """Contents of a sharded checkpoint.

    Args:
        tensors: Data type and size of each tensor, and its parts: offsets, size and storage of each.
        objects: Storage of each object that is not a tensor.
    """

    tensors: dict[str, tuple[torch.dtype, tuple[int, ...], list[tuple[tuple[int, ...], tuple[int, ...], ByteRange]]]]
    objects: dict[str, ByteRange]

    def whole(self, name: str) -> Tensor:
        """Load a tensor from its parts."""
        dtype, size, parts = self.tensors[name]
        whole = torch.empty(size, dtype=dtype)
        for start, extent, stored in parts:
            with stored.opened() as file:
                part = load_plain(file)
            if not isinstance(part, Tensor) or tuple(part.shape) != extent or part.dtype != dtype:
                raise CheckpointError(f"has no part of {name} of size {extent} in {stored.path.name}")
            whole[tuple(slice(at, at + length) for at, length in zip(start, extent, strict=True))] = part
        return whole


def read_contents(folder: Path) -> Shards:
    """Read the table of contents of a sharded checkpoint and validate it against the files.

    Raises:
        CheckpointError: It is missing or damaged, or was not written by torch.
    """
    path = folder / CONTENTS
    if not path.is_file():
        raise CheckpointError(f"{folder} has no {CONTENTS}; expected a complete sharded checkpoint")
    if path.stat().st_size > MAX_CONTENTS_BYTES:
        raise CheckpointError(f"{path} has {path.stat().st_size:,} bytes; expected at most {MAX_CONTENTS_BYTES:,}")
    try:
        return _validated(folder, _unpickled(path.read_bytes()))
    except (pickle.UnpicklingError, AttributeError, EOFError, LookupError, OSError, TypeError, ValueError) as error:
        raise CheckpointError(f"{path} is damaged, or was not written by torch: {one_line(error, 200)}") from error
    except (MemoryError, RecursionError) as error:
        raise CheckpointError(f"{path} was not written by torch: it takes too much memory") from error


def _validated(folder: Path, contents: Any) -> Shards:
    if not isinstance(contents, _Contents):
        raise TypeError("it contains no table of contents")
    found: dict[str, Any] = vars(contents)
    stored = {_index(index): _byte_range(folder, place) for index, place in found["storage_data"].items()}
    for name, parts in (found.get("planner_data") or {}).items():
        too_far = any(isinstance(part, int) and not 0 <= part < MAX_INDEX for part in parts)
        if too_far or ".".join(map(str, parts)) != name:
            raise ValueError(f"the path of {name[:80]!r} does not match its name")
    shards = Shards({}, {})
    for name, entry in found["state_dict_metadata"].items():
        if isinstance(entry, _Object):
            shards.objects[name] = stored[name, None]
        else:
            shards.tensors[name] = _tensor(name, entry, stored)
    declared = sum(math.prod(size) * dtype.itemsize for dtype, size, _ in shards.tensors.values())
    held = sum(path.stat().st_size for path in {one.path for one in stored.values()})
    if declared > held:
        raise ValueError(f"it declares {declared:,} bytes of tensors, but the files have {held:,}")
    return shards


def _index(index: Any) -> tuple[str, tuple[int, ...] | None]:
    if not isinstance(index, _Index):
        raise TypeError("an index in it is not of the type that torch writes")
    offset = vars(index).get("offset")
    return _text(vars(index)["fqn"]), None if offset is None else _numbers(offset)


def _byte_range(folder: Path, place: Any) -> ByteRange:
    """The byte range that an entry describes, checked to lie within a file of the folder."""
    found: dict[str, Any] = vars(place)
    name, start, length = _text(found["relative_path"]), *_numbers((found["offset"], found["length"]))
    path = folder / name
    if path.name != name or path.is_symlink() or not path.is_file():
        raise ValueError(f"it names {name[:80]!r}, which is not a file in the folder")
    if start + length > path.stat().st_size:
        raise ValueError(f"{name} is truncated")
    if found.get("transform_descriptors"):
        raise ValueError(f"{name} is compressed, unlike checkpoints of prismaudio fit")
    return ByteRange(path, start, length)


def _tensor(name: str, entry: Any, stored: dict[tuple[str, tuple[int, ...] | None], ByteRange]) -> Any:
    """Data type, size and parts of a tensor; the parts must cover it."""
    found: dict[str, Any] = vars(entry)
    dtype, size, parts = vars(found["properties"])["state"][0], _numbers(found["size"]), []
    if not isinstance(entry, _Chunked) or not isinstance(dtype, torch.dtype):
        raise TypeError(f"{name} is not a tensor")
    for chunk in found["chunks"]:
        start, extent = _numbers(vars(chunk)["offsets"]), _numbers(vars(chunk)["sizes"])
        if any(at + length > most for at, length, most in zip(start, extent, size, strict=True)):
            raise ValueError(f"a part of {name} lies outside it")
        parts.append((start, extent, stored[name, start]))
    if sum(math.prod(extent) for _, extent, _ in parts) != math.prod(size):
        raise ValueError(f"the parts of {name} do not cover it")
    return dtype, size, parts


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError("a name in it is not a string")
    return value


def _numbers(values: Any) -> tuple[int, ...]:
    if not isinstance(values, tuple) or any(type(value) is not int or not 0 <= value < 2**60 for value in values):
        raise TypeError("a size in it is not a tuple of whole numbers")
    return values


# What the command line reads ------------------------------------------------------------------------------------------
def load_weights(path: Path) -> dict[str, Tensor]:
    """Load the unsharded weights by name to the CPU, on any number of processes and any hardware.

    Args:
        path: A ``.ckpt`` file, or the folder that a sharded run writes.

    Raises:
        CheckpointError: There is no such checkpoint, it is damaged, or it holds more than tensors and plain data.
    """
    try:
        if not path.is_dir():
            return read_weights(path)
        shards = read_contents(path)
        return {name.removeprefix(STATE): shards.whole(name) for name in shards.tensors if name.startswith(STATE)}
    except (CheckpointError, OSError, RuntimeError) as error:
        why = one_line(error, 300)
        raise CheckpointError(f"{path} is not a checkpoint of prismaudio fit, or it is damaged: {why}") from error


def check_shards(folder: Path) -> None:
    """Check that a sharded checkpoint holds only tensors and plain data, before torch and Lightning read it.

    Raises:
        CheckpointError: It holds anything else, or is damaged.
    """
    shards = read_contents(folder)
    rest = folder / REST
    try:
        for stored in shards.objects.values():
            with stored.opened() as file:
                load_plain(file)
        for _, _, parts in shards.tensors.values():
            for _, _, stored in parts:
                with stored.opened() as file:
                    check_archive(file)
        load_plain(rest)
    except CheckpointError as error:
        raise CheckpointError(f"{folder} {error}") from error
