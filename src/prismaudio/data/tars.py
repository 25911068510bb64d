"""WebDataset archives of features: members ``<id>.latents.npy``, ``<id>.npz``, ``<id>.safetensors``, ``<id>.json``.

They are read with the standard library and random access, so that buckets, masks and exact resume work as with
shards; the sequential streams of the webdataset package support none of these.
"""

from __future__ import annotations

import io
import tarfile
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, cast

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load
from torch import Tensor

from prismaudio.data import published
from prismaudio.data.description import check_description
from prismaudio.data.records import Contents, Record, StoredTensor, is_part, member_name
from prismaudio.errors import DataError
from prismaudio.untrusted import MAX_TEXT_BYTES, json_text, parse_json, readable_name

if TYPE_CHECKING:
    from prismaudio.data.extraction import Extracted

DESCRIPTION = "__prismaudio__"
"""Member of archives of ours with the description of the models, as JSON."""


def tar_bytes(clips: Sequence[Extracted], description: Mapping[str, Any]) -> bytes:
    """Serialize an archive in WebDataset's form: members ``<key>.json`` and ``<key>.<name>.npy`` of each clip.

    The key is the id of the clip with ``%2E`` for each dot, because WebDataset takes what follows the first dot for
    the name; the JSON has the id itself. WebDataset skips the member :data:`DESCRIPTION`.

    Args:
        clips: The clips.
        description: Description of the models that computed the tensors.
    """
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w", format=tarfile.PAX_FORMAT) as archive:
        _add(archive, DESCRIPTION, json_text(description))
        for clip in clips:
            key = member_name(clip.entry.id, ".")
            _add(archive, f"{key}.json", json_text({"id": clip.entry.id, **clip.info}))
            for name, value in clip.values.items():
                array = io.BytesIO()
                np.save(array, value.numpy(), allow_pickle=False)
                _add(archive, f"{key}.{name}.npy", array.getvalue())
    return file.getvalue()


def _add(archive: tarfile.TarFile, name: str, data: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(data)
    archive.addfile(member, io.BytesIO(data))


def index_tar(path: Path) -> Contents:
    """The contents of an archive, which must not be compressed.

    Raises:
        DataError: It is damaged or compressed, or a member is damaged or contains Python objects.
    """
    parts: dict[str, dict[str, StoredTensor]] = {}
    infos: dict[str, dict[str, Any]] = {}
    known: Mapping[str, Any] | None = None
    described: Collection[str] = ()
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
                opened = cast("IO[bytes]", archive.extractfile(member))
                if member.name == DESCRIPTION:
                    known = _object(opened, f"{path}: {DESCRIPTION}")
                    check_description(known, str(path))
                    described = known.get("streams", ())
                    continue
                folder, slash, file = readable_name(member.name).rpartition("/")
                stem, _, ending = file.partition(".")
                name, where = f"{folder}{slash}{stem}", f"{path}: {readable_name(member.name)}"
                if ending == "json":
                    infos[name] = _object(opened, where)
                for key, (shape, dtype) in _kinds(opened, ending, where, member.size, described).items():
                    ours = published.NAMES.get(key, key)
                    known = published.DESCRIPTION if ours != key else known
                    part = StoredTensor(path, f"{ending}:{key}", shape, member.offset_data, member.size, dtype)
                    parts.setdefault(name, {})[ours] = part
    except (*published.DAMAGED, tarfile.TarError, SafetensorError, MemoryError) as error:
        raise DataError(f"{path} is truncated, damaged or not a plain tar file ({error}); create it again") from error
    found = [_record(name, own, infos.get(name, {})) for name, own in parts.items()]
    return Contents(path, {record.id: record for record in found}, known)


def _record(key: str, parts: Mapping[str, StoredTensor], info: Mapping[str, Any]) -> Record:
    """The record of a key, under the id that its JSON states if :func:`tar_bytes` made the key of it."""
    stated = info.get("id")
    if isinstance(stated, str) and member_name(stated, ".") == key:
        return Record(stated, parts, {name: value for name, value in info.items() if name != "id"})
    return Record(key, parts, info)


def _object(opened: IO[bytes], where: str) -> dict[str, Any]:
    """A JSON object: the description of the models, or what else an archive says of a clip."""
    info = parse_json(opened.read(MAX_TEXT_BYTES + 1), where)
    if not isinstance(info, dict):
        raise DataError(f"{where}: expected an object")
    return info


def _kinds(
    opened: IO[bytes], ending: str, where: str, size: int, described: Collection[str]
) -> dict[str, published.Kind]:
    """Shapes and data types of the latents and features in a member; empty for a member of another kind."""
    key, _, last = ending.rpartition(".")
    if last == "npy" and is_part(published.NAMES.get(key, key), described):
        kind = published.npy_kind(opened, where, size)
        return {} if kind is None else {key: kind}
    if ending == "npz":
        return published.npz_kinds(io.BytesIO(opened.read()), where, described)
    if ending == "safetensors":
        values = load(opened.read())
        return {
            key: (tuple(value.shape), str(value.dtype).removeprefix("torch."))
            for key, value in values.items()
            if is_part(key, described)
        }
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
