"""Reads ``.npz`` feature files as written by the published system, without unpickling.

The size declared in a header is compared with the size of the file before memory is allocated.
"""

from __future__ import annotations

import lzma
import math
import tokenize
import zipfile
import zlib
from pathlib import Path
from typing import IO, Any

import numpy as np
import torch
from torch import Tensor

from prismaudio.data.records import Contents, Record, StoredTensor, is_part
from prismaudio.errors import DataError
from prismaudio.untrusted import readable_name

NAMES = {"latent": "latents", "video_features": "video", "sync_features": "sync", "text_features": "text"}
"""Arrays of a published file and their names here; other arrays are ignored."""
DESCRIPTION: dict[str, Any] = {
    "latents": {"sample_rate_hz": 44_100, "hop": 2048},
    "streams": {"video": {"rate_hz": 4.0}, "sync": {"rate_hz": 25.0, "group": 8}},
}
"""Description of published features, which have none. The last segment of synchronization features ends before the
clip, so that there are 24 per second in nine seconds, and nearly 25 in a minute."""
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
        shapes = npz_shapes(path, str(path))
    except DAMAGED as error:
        raise DataError(f"{path} is truncated, damaged or not an .npz file ({error}); create it again") from error
    parts = {NAMES.get(key, key): StoredTensor(path, key, shape) for key, shape in shapes.items()}
    known = DESCRIPTION if shapes.keys() & NAMES.keys() else None
    name = readable_name(path.stem)
    return Contents(path, {name: Record(name, parts)}, known)


def npz_shapes(file: Path | IO[bytes], where: str) -> dict[str, tuple[int, ...]]:
    """Shapes of the latents and features in an ``.npz`` file, without scalar objects.

    Raises:
        DataError: One of them holds Python objects.
    """
    shapes = {}
    with zipfile.ZipFile(file) as archive:
        for member in archive.namelist():
            key = member.removesuffix(".npy")
            if is_part(NAMES.get(key, key)):
                with archive.open(member) as opened:
                    shape = npy_shape(opened, f"{where}: {key}", archive.getinfo(member).file_size)
                if shape is not None:
                    shapes[key] = shape
    return shapes


def npy_shape(opened: IO[bytes], where: str, size: int) -> tuple[int, ...] | None:
    """Shape in the header of a ``.npy`` file; None for a scalar object, which is how numpy stores None.

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
    return shape


def read_npz(file: Path | IO[bytes], key: str) -> Tensor:
    """An array of an ``.npz`` file."""
    with np.load(file, allow_pickle=False) as archive:
        return torch.from_numpy(np.asarray(archive[key], np.float32))
