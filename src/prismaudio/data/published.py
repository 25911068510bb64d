"""``.npz`` files of features, as the published system writes them; nothing in them is unpickled.

What a header declares is compared with the bytes that are there before memory is taken for it.
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
"""Arrays of a published file, and what they are called here. Others are left alone."""
DESCRIPTION: dict[str, Any] = {
    "latents": {"sample_rate_hz": 44_100, "hop": 2048},
    "streams": {"video": {"rate_hz": 4.0}, "sync": {"rate_hz": 25.0, "group": 8}},
}
"""What is known of published features without their saying so. The last segment of synchronisation features ends before
the clip does, so that there are 24 a second in nine seconds, and nearly 25 in a minute."""
MAX_ARRAY_BYTES = 1 << 30
"""Largest array that is read; the features of an hour of video have a third of that."""
DAMAGED = (
    zipfile.BadZipFile, zlib.error, lzma.LZMAError, tokenize.TokenError, OSError, ValueError, TypeError, EOFError,
    KeyError, IndexError, RuntimeError, SyntaxError, OverflowError, RecursionError,
)  # fmt: skip
"""What zipfile and numpy raise for files that are damaged, encrypted, or made to do harm."""


def index_npz(path: Path) -> Contents:
    """What an ``.npz`` file holds; only the headers of its arrays are read.

    Raises:
        DataError: It is damaged, or its latents or features are Python objects.

    Source:
        ``data_utils/prismaudio_data_process.py`` at 86eed40, from its specification: there ``latent`` is None, and
        so a lone object, in features that were computed for inference; they have no latents.
    """
    try:
        shapes = npz_shapes(path, str(path))
    except DAMAGED as error:
        raise DataError(f"{path} is truncated, damaged or no .npz file ({error}); make it again") from error
    parts = {NAMES.get(key, key): StoredTensor(path, key, shape) for key, shape in shapes.items()}
    known = DESCRIPTION if shapes.keys() & NAMES.keys() else None
    name = readable_name(path.stem)
    return Contents(path, {name: Record(name, parts)}, known)


def npz_shapes(file: Path | IO[bytes], where: str) -> dict[str, tuple[int, ...]]:
    """Shapes of those arrays of an ``.npz`` file that are latents or features; a lone object is neither.

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
    """Shape in the header of a ``.npy`` file; None when it holds one object, which is how numpy stores None.

    Args:
        opened: The file, at its beginning.
        where: What it is, for the error.
        size: Its bytes.

    Raises:
        DataError: It holds Python objects, or not as many numbers as its header declares.
    """
    version = np.lib.format.read_magic(opened)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, _, dtype = read(opened)
    if dtype.hasobject and shape == ():
        return None
    if dtype.hasobject:
        raise DataError(f"{where} holds a Python object instead of numbers; objects can run code and are not read")
    if dtype.kind not in "fiub":
        raise DataError(f"{where} holds {str(dtype)[:80]}, which are no numbers")
    n_bytes = math.prod(shape) * dtype.itemsize
    if min(shape, default=0) < 0 or n_bytes > min(size - opened.tell(), MAX_ARRAY_BYTES):
        raise DataError(f"{where} declares an array of shape {shape}, but has {size} bytes")
    return shape


def read_npz(file: Path | IO[bytes], key: str) -> Tensor:
    """An array of an ``.npz`` file."""
    with np.load(file, allow_pickle=False) as archive:
        return torch.from_numpy(np.asarray(archive[key], np.float32))
