"""Weights of a checkpoint of ``prismaudio fit``, from one file or from the shards of many processes.

The table of contents of shards is a pickle, of which torch would run what is in it. Here an unpickler reads it that
knows the names which torch writes there and nothing else, and what it says is compared with the files.
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
"""The table of contents of shards, and the file with all that is neither weights nor optimiser states."""
MAX_CONTENTS_BYTES = 1 << 28
"""Size of a table of contents; that of 2,000 tensors in 8 processes has 3 MB."""
MAX_INDEX = 100_000
"""Places in a list of a checkpoint, such as parameter groups of an optimiser."""
STATE = "state_dict."


# The table of contents ------------------------------------------------------------------------------------------------
class _Fixed(type):
    """Classes whose attributes a pickle cannot set."""

    def __setattr__(cls, name: str, value: object) -> Never:
        raise pickle.UnpicklingError(f"it sets {name} of a class")


class _Record(metaclass=_Fixed):
    """What stands for an object of torch: its attributes and nothing that it could do."""

    def __setstate__(self, state: object) -> None:
        self.__dict__.update(state if isinstance(state, dict) else {"state": state})


class _Unused(metaclass=_Fixed):
    """What stands for objects that are not looked at."""

    def __new__(cls, *_: object) -> None:  # type: ignore[misc]
        """Nothing."""
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
"""All that torch 2.11 to 2.13 write into a table of contents: module and name, and what stands for it here."""


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str, /) -> Any:
        """What stands for a class of torch."""
        if (module, name) not in KNOWN:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}, which torch does not write there")
        return KNOWN[module, name]


def _unpickled(data: bytes) -> Any:
    """What a table of contents holds, made of the stand-ins."""
    for n_before, (operation, argument, _) in enumerate(pickletools.genops(data)):
        if operation.name == "LONG_BINPUT" and isinstance(argument, int) and argument > n_before:
            raise pickle.UnpicklingError("it numbers its objects in another way than torch")  # and takes 64 GB for that
    return _Unpickler(io.BytesIO(data)).load()


# Its checks -----------------------------------------------------------------------------------------------------------
class _Window(io.RawIOBase):
    """A stretch of a file."""

    def __init__(self, file: BinaryIO, start: int, length: int) -> None:
        self.file, self.start, self.length, self.at = file, start, length, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        place = offset + {os.SEEK_SET: 0, os.SEEK_CUR: self.at, os.SEEK_END: self.length}[whence]
        if place < 0:
            raise OSError(f"there is nothing before the stretch, at {place}")
        self.at = place
        return place

    def readinto(self, buffer: Any, /) -> int:
        self.file.seek(self.start + self.at)
        read = self.file.read(max(0, min(len(buffer), self.length - self.at)))
        buffer[: len(read)] = read
        self.at += len(read)
        return len(read)


@dataclass(frozen=True)
class Stretch:
    """Bytes of a file of shards, which are a file by themselves.

    Args:
        path: The file.
        start: Where they begin.
        length: How many they are.
    """

    path: Path
    start: int
    length: int

    @contextmanager
    def opened(self) -> Iterator[BinaryIO]:
        """The bytes, of which only those are read that are asked for."""
        with self.path.open("rb") as file, io.BufferedReader(_Window(file, self.start, self.length)) as window:
            yield window


@dataclass(frozen=True)
class Shards:
    """What a folder of shards holds.

    Args:
        tensors: Type and size of each tensor, and its parts: where each begins, its size, where it is stored.
        objects: Where each thing that is no tensor is stored.
    """

    tensors: dict[str, tuple[torch.dtype, tuple[int, ...], list[tuple[tuple[int, ...], tuple[int, ...], Stretch]]]]
    objects: dict[str, Stretch]

    def whole(self, name: str) -> Tensor:
        """A tensor, put together."""
        dtype, size, parts = self.tensors[name]
        whole = torch.empty(size, dtype=dtype)
        for start, extent, stretch in parts:
            with stretch.opened() as file:
                part = load_plain(file)
            if not isinstance(part, Tensor) or tuple(part.shape) != extent or part.dtype != dtype:
                raise CheckpointError(f"holds no part of {name} of size {extent} in {stretch.path.name}")
            whole[tuple(slice(at, at + length) for at, length in zip(start, extent, strict=True))] = part
        return whole


def read_contents(folder: Path) -> Shards:
    """What a folder of shards holds, by its table of contents, which is compared with the files.

    Raises:
        CheckpointError: There is none, it is damaged, or it holds what torch does not write.
    """
    path = folder / CONTENTS
    if not path.is_file():
        raise CheckpointError(f"{folder} has no {CONTENTS}, which a whole sharded checkpoint has")
    if path.stat().st_size > MAX_CONTENTS_BYTES:
        raise CheckpointError(f"{path} has {path.stat().st_size:,} bytes; expected at most {MAX_CONTENTS_BYTES:,}")
    try:
        return _looked_over(folder, _unpickled(path.read_bytes()))
    except (pickle.UnpicklingError, AttributeError, EOFError, LookupError, OSError, TypeError, ValueError) as error:
        raise CheckpointError(f"{path} is damaged, or not as torch writes it: {one_line(error, 200)}") from error
    except (MemoryError, RecursionError) as error:
        raise CheckpointError(f"{path} is not as torch writes it: it takes too much memory") from error


def _looked_over(folder: Path, contents: Any) -> Shards:
    if not isinstance(contents, _Contents):
        raise TypeError("it holds no table of contents")
    found: dict[str, Any] = vars(contents)
    stored = {_index(index): _stretch(folder, place) for index, place in found["storage_data"].items()}
    for name, parts in (found.get("planner_data") or {}).items():
        too_far = any(isinstance(part, int) and not 0 <= part < MAX_INDEX for part in parts)
        if too_far or ".".join(map(str, parts)) != name:
            raise ValueError(f"it puts {name[:80]!r} elsewhere than its name says")
    shards = Shards({}, {})
    for name, entry in found["state_dict_metadata"].items():
        if isinstance(entry, _Object):
            shards.objects[name] = stored[name, None]
        else:
            shards.tensors[name] = _tensor(name, entry, stored)
    declared = sum(math.prod(size) * dtype.itemsize for dtype, size, _ in shards.tensors.values())
    held = sum(path.stat().st_size for path in {stretch.path for stretch in stored.values()})
    if declared > held:
        raise ValueError(f"it declares {declared:,} bytes of tensors, but the files have {held:,}")
    return shards


def _index(index: Any) -> tuple[str, tuple[int, ...] | None]:
    if not isinstance(index, _Index):
        raise TypeError("it names a place by another thing than torch does")
    offset = vars(index).get("offset")
    return _text(vars(index)["fqn"]), None if offset is None else _numbers(offset)


def _stretch(folder: Path, place: Any) -> Stretch:
    """A place in a file that is in the folder and as long as it says."""
    found: dict[str, Any] = vars(place)
    name, start, length = _text(found["relative_path"]), *_numbers((found["offset"], found["length"]))
    path = folder / name
    if path.name != name or path.is_symlink() or not path.is_file():
        raise ValueError(f"it names {name[:80]!r}, which is no file in the folder")
    if start + length > path.stat().st_size:
        raise ValueError(f"{name} is truncated")
    if found.get("transform_descriptors"):
        raise ValueError(f"{name} is compressed, which prismaudio fit does not do")
    return Stretch(path, start, length)


def _tensor(name: str, entry: Any, stored: dict[tuple[str, tuple[int, ...] | None], Stretch]) -> Any:
    """Type, size and parts of a tensor, which are all of it."""
    found: dict[str, Any] = vars(entry)
    dtype, size, parts = vars(found["properties"])["state"][0], _numbers(found["size"]), []
    if not isinstance(entry, _Chunked) or not isinstance(dtype, torch.dtype):
        raise TypeError(f"{name} is no tensor")
    for chunk in found["chunks"]:
        start, extent = _numbers(vars(chunk)["offsets"]), _numbers(vars(chunk)["sizes"])
        if any(at + length > most for at, length, most in zip(start, extent, size, strict=True)):
            raise ValueError(f"a part of {name} lies outside it")
        parts.append((start, extent, stored[name, start]))
    if sum(math.prod(extent) for _, extent, _ in parts) != math.prod(size):
        raise ValueError(f"the parts of {name} are not all of it")
    return dtype, size, parts


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError("a name in it is no text")
    return value


def _numbers(values: Any) -> tuple[int, ...]:
    if not isinstance(values, tuple) or any(type(value) is not int or not 0 <= value < 2**60 for value in values):
        raise TypeError("a size in it is no number")
    return values


# What the command line reads ------------------------------------------------------------------------------------------
def load_weights(path: Path) -> dict[str, Tensor]:
    """Weights by name, whole, on the CPU; needs neither the number of processes nor the hardware of the run.

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
    """See that a folder of shards holds tensors and plain data, before torch and Lightning read it.

    Raises:
        CheckpointError: It holds anything else, or is damaged.
    """
    shards = read_contents(folder)
    rest = folder / REST
    try:
        for stretch in shards.objects.values():
            with stretch.opened() as file:
                load_plain(file)
        for _, _, parts in shards.tensors.values():
            for _, _, stretch in parts:
                with stretch.opened() as file:
                    check_archive(file)
        load_plain(rest)
    except CheckpointError as error:
        raise CheckpointError(f"{folder} {error}") from error
