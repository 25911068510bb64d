"""WebDataset archives of features: members ``<id>.latents.npy``, ``<id>.npz``, ``<id>.safetensors``, ``<id>.json``.

They are read with the standard library and random access, so that buckets, masks and exact resume work as with
shards; the sequential streams of the webdataset package support none of these.
"""

from __future__ import annotations

import io
import tarfile
from pathlib import Path
from typing import IO, Any, cast

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load
from torch import Tensor

from prismaudio.data import published
from prismaudio.data.records import Contents, Record, StoredTensor, is_part
from prismaudio.errors import DataError
from prismaudio.untrusted import MAX_TEXT_BYTES, parse_json, readable_name


def index_tar(path: Path) -> Contents:
    """The contents of an archive, which must not be compressed.

    Raises:
        DataError: It is damaged or compressed, or a member is damaged or contains Python objects.
    """
    parts: dict[str, dict[str, StoredTensor]] = {}
    infos: dict[str, dict[str, Any]] = {}
    known = None
    try:
        n_bytes = path.stat().st_size
        with tarfile.open(path, "r:") as archive:
            for member in archive:
                if (
                    not member.isreg() or member.issparse()
                ):  # links may point anywhere, sparse files have unbounded size
                    continue
                if member.offset_data + member.size > n_bytes:
                    raise EOFError("its end is missing")
                folder, slash, file = readable_name(member.name).rpartition("/")
                stem, _, ending = file.partition(".")
                name, where = f"{folder}{slash}{stem}", f"{path}: {readable_name(member.name)}"
                opened = cast("IO[bytes]", archive.extractfile(member))
                if ending == "json":
                    infos[name] = _info(opened, where)
                for key, shape in _shapes(opened, ending, where, member.size).items():
                    ours = published.NAMES.get(key, key)
                    known = published.DESCRIPTION if ours != key else known
                    part = StoredTensor(path, f"{ending}:{key}", shape, member.offset_data, member.size)
                    parts.setdefault(name, {})[ours] = part
    except (*published.DAMAGED, tarfile.TarError, SafetensorError, MemoryError) as error:
        raise DataError(f"{path} is truncated, damaged or not a plain tar file ({error}); create it again") from error
    records = {name: Record(name, found, infos.get(name, {})) for name, found in parts.items()}
    return Contents(path, records, known)


def _info(opened: IO[bytes], where: str) -> dict[str, Any]:
    """What else an archive says of a clip."""
    info = parse_json(opened.read(MAX_TEXT_BYTES + 1), where)
    if not isinstance(info, dict):
        raise DataError(f"{where}: expected an object")
    return info


def _shapes(opened: IO[bytes], ending: str, where: str, size: int) -> dict[str, tuple[int, ...]]:
    """Shapes of the latents and features in a member; empty for a member of another kind."""
    key, _, last = ending.rpartition(".")
    if last == "npy" and is_part(published.NAMES.get(key, key)):
        shape = published.npy_shape(opened, where, size)
        return {} if shape is None else {key: shape}
    if ending == "npz":
        return published.npz_shapes(io.BytesIO(opened.read()), where)
    if ending == "safetensors":
        return {key: tuple(value.shape) for key, value in load(opened.read()).items() if is_part(key)}
    return {}


def read_tar(part: StoredTensor) -> Tensor:
    """Read a tensor of a member."""
    with part.path.open("rb") as file:
        file.seek(part.begin)
        data = file.read(part.size)
    ending, _, key = part.key.partition(":")
    if ending == "npz":
        return published.read_npz(io.BytesIO(data), key)
    if ending == "safetensors":
        return load(data)[key].float()
    return torch.from_numpy(np.asarray(np.load(io.BytesIO(data), allow_pickle=False), np.float32))
