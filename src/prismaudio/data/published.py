"""Reads and writes ``.npz`` feature files in the published form, without pickle.

The size declared in a header is compared with the size of the file before memory is allocated.
"""

from __future__ import annotations

import json
import lzma
import math
import tokenize
import zipfile
import zlib
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from prismaudio.data.description import check_description
from prismaudio.data.records import Contents, Record, StoredTensor, is_part
from prismaudio.errors import DataError
from prismaudio.untrusted import MAX_TEXT_BYTES, parse_json, readable_name

if TYPE_CHECKING:
    from prismaudio.data.extraction import Extracted

NAMES = {"latent": "latents", "video_features": "video", "sync_features": "sync", "text_features": "text"}
"""Arrays of a published file and their names here; other arrays are ignored."""
DESCRIPTION: dict[str, Any] = {
    "latents": {"sample_rate_hz": 44_100, "hop": 2048},
    "streams": {"video": {"rate_hz": 4.0}, "sync": {"rate_hz": 25.0, "group": 8}},
}
"""Description of published features, which have none. The last segment of synchronization features ends before the
clip, so that there are 24 per second in nine seconds, and nearly 25 in a minute."""
OWN = "prismaudio"
"""Array with the id, the metadata of the clip and the description of the models, as JSON, in files of ours."""
Kind = tuple[tuple[int, ...], str]
"""Shape and data type of an array."""
MAX_ARRAY_BYTES = 1 << 30
"""Largest array that is read; the features of an hour of video have a third of this size."""
DAMAGED = (
    zipfile.BadZipFile, zlib.error, lzma.LZMAError, tokenize.TokenError, OSError, ValueError, TypeError, EOFError,
    KeyError, IndexError, RuntimeError, SyntaxError, OverflowError, RecursionError,
)  # fmt: skip
"""Exceptions of zipfile and numpy for damaged, encrypted or malicious files."""


def index_npz(path: Path) -> Contents:
    """The contents of an ``.npz`` file; only the headers of its arrays are read.

    Raises:
        DataError: It is damaged, or its latents or features are Python objects.

    Source:
        ``data_utils/prismaudio_data_process.py`` at 86eed40, from its specification: in features computed for
        inference ``latent`` is None, which is stored as a scalar object; they have no latents.
    """
    try:
        own = _own(path)
        kinds = npz_kinds(path, str(path), () if own is None else own["description"].get("streams", ()))
    except DAMAGED as error:
        raise DataError(f"{path} is truncated, damaged or not an .npz file ({error}); create it again") from error
    parts = {NAMES.get(key, key): StoredTensor(path, key, shape, dtype=dtype) for key, (shape, dtype) in kinds.items()}
    known = DESCRIPTION if kinds.keys() & NAMES.keys() else None
    if own is None:
        name = readable_name(path.stem)
        return Contents(path, {name: Record(name, parts)}, known)
    return Contents(path, {own["id"]: Record(own["id"], parts, own["info"])}, own["description"])


def _own(path: Path) -> dict[str, Any] | None:
    """The id, the metadata and the description that :func:`write_npz` adds; None in files of others."""
    with zipfile.ZipFile(path) as archive:
        if f"{OWN}.npy" not in archive.namelist():
            return None
        if archive.getinfo(f"{OWN}.npy").file_size > 4 * MAX_TEXT_BYTES:
            raise DataError(f"{path}: {OWN} is too long; create it again")
    with np.load(path, allow_pickle=False) as arrays:
        own = parse_json(str(arrays[OWN]), f"{path}: {OWN}")
    if not isinstance(own, dict) or not (isinstance(own.get("id"), str) and isinstance(own.get("info"), dict)):
        raise DataError(f"{path}: {OWN} lacks the id or the metadata of the clip; create it again")
    check_description(own.get("description"), str(path))
    return own


def write_npz(path: Path, extracted: Extracted, description: Mapping[str, Any]) -> None:
    """Write the latents and features of one clip in the published form, which the published data set reads, too.

    Strings are arrays of unicode characters, so that no array is a Python object. Streams and alternative texts that
    the published form does not have are stored under their own names. The two ``global_*`` arrays, which the
    published model does not use, are not written.

    Args:
        path: The file.
        extracted: The clip.
        description: Description of the models that computed the tensors.
    """
    entry, info = extracted.entry, extracted.info
    keys = {ours: published for published, ours in NAMES.items()}
    arrays: dict[str, Any] = {
        "id": entry.id,
        "audio_path": readable_name(str(entry.audio or entry.video or "")),
        "video_path": readable_name(str(entry.video or "")),
        "caption_cot": info["plans"][0],
        OWN: json.dumps({"id": entry.id, "info": info, "description": description}, ensure_ascii=False),
    }
    arrays |= {keys.get(name, name): value.numpy() for name, value in extracted.values.items()}
    stored: dict[str, Any] = {name: np.asarray(value) for name, value in arrays.items()}
    np.savez(path, **stored)


def npz_kinds(file: Path | IO[bytes], where: str, described: Collection[str] = ()) -> dict[str, Kind]:
    """Shapes and data types of the latents and features in an ``.npz`` file, without scalar objects.

    Args:
        file: The file.
        where: Its name, for the error.
        described: Streams that the file describes.

    Raises:
        DataError: One of them holds Python objects.
    """
    kinds = {}
    with zipfile.ZipFile(file) as archive:
        for member in archive.namelist():
            key = member.removesuffix(".npy")
            if is_part(NAMES.get(key, key), described):
                with archive.open(member) as opened:
                    kind = npy_kind(opened, f"{where}: {key}", archive.getinfo(member).file_size)
                if kind is not None:
                    kinds[key] = kind
    return kinds


def npy_kind(opened: IO[bytes], where: str, size: int) -> Kind | None:
    """Shape and data type in the header of a ``.npy`` file; None for a scalar object, which is how numpy stores None.

    Args:
        opened: The file, at its beginning.
        where: Its name, for the error.
        size: Its size in bytes.

    Raises:
        DataError: It contains Python objects, or fewer numbers than its header declares.
    """
    version = np.lib.format.read_magic(opened)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, _, dtype = read(opened)
    if dtype.hasobject and shape == ():
        return None
    if dtype.hasobject:
        raise DataError(f"{where} contains a Python object instead of numbers; objects can run code and are not read")
    if dtype.kind not in "fiub":
        raise DataError(f"{where} has the dtype {str(dtype)[:80]}; expected numbers")
    n_bytes = math.prod(shape) * dtype.itemsize
    if min(shape, default=0) < 0 or n_bytes > min(size - opened.tell(), MAX_ARRAY_BYTES):
        raise DataError(f"{where} declares an array of shape {shape}, but has {size} bytes")
    return shape, str(dtype)


def read_npz(file: Path | IO[bytes], key: str) -> Tensor:
    """An array of an ``.npz`` file."""
    with np.load(file, allow_pickle=False) as archive:
        return torch.from_numpy(np.asarray(archive[key], np.float32))
