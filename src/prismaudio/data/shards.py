"""Shards: safetensors files with the latents and features of many clips and a description of the models."""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from prismaudio.data.description import check_description
from prismaudio.data.records import Contents, Record, StoredTensor, is_part
from prismaudio.errors import DataError
from prismaudio.untrusted import parse_json, readable_name

SUFFIX = ".safetensors"
DTYPES = {"F64": "float64", "F32": "float32", "F16": "float16", "BF16": "bfloat16"}
METADATA = "prismaudio"
"""Key of the JSON metadata in the header of a file."""


def shard_bytes(
    clips: Mapping[str, Mapping[str, Tensor]], infos: Mapping[str, Any], description: Mapping[str, Any]
) -> bytes:
    """Serialize a shard.

    Args:
        clips: Tensors of each clip by name; in the file their keys are ``<id>/<name>``.
        infos: Metadata of each clip.
        description: Description of the models that computed the tensors.
    """
    tensors = {f"{name}/{part}": value.contiguous() for name, parts in clips.items() for part, value in parts.items()}
    metadata = json.dumps({"description": description, "clips": infos}, ensure_ascii=False)
    return save(tensors, {METADATA: metadata})


def shard_number(path: Path) -> int:
    """The number at the end of a shard's name, which grows with each shard of a folder; -1 without one.

    Example:
        >>> shard_number(Path("features/shard-1of2-00017.safetensors"))
        17
    """
    found = re.search(r"(\d+)$", path.stem)
    return int(found[1]) if found else -1


def index_shard(path: Path) -> Contents:
    """The contents of a safetensors file; only its header is read.

    Raises:
        DataError: It is damaged, truncated, or not a safetensors file.
    """
    try:
        with safe_open(path, "pt") as opened:
            text = (opened.metadata() or {}).get(METADATA, "{}")
            slices = {key: opened.get_slice(key) for key in opened.keys()}  # noqa: SIM118 - no mapping
            kinds = {key: (tuple(part.get_shape()), str(part.get_dtype())) for key, part in slices.items()}
    except (SafetensorError, OSError, ValueError) as error:
        raise DataError(f"{path} is truncated, damaged or not a safetensors file ({error}); create it again") from error
    metadata = parse_json(text, f"{path}: its metadata", None)
    description, infos = _checked(metadata, path)
    found: dict[str, dict[str, StoredTensor]] = {}
    for key, (shape, dtype) in kinds.items():
        name, _, part = key.rpartition("/")
        if is_part(part, (description or {}).get("streams", ())):
            found.setdefault(name or readable_name(path.stem), {})[part] = StoredTensor(
                path, key, shape, dtype=DTYPES.get(dtype, dtype)
            )
    records = {name: Record(name, parts, infos.get(name, {})) for name, parts in found.items()}
    return Contents(path, records, description)


def _checked(metadata: Any, path: Path) -> tuple[Mapping[str, Any] | None, Mapping[str, Mapping[str, Any]]]:
    """Description and clip infos of a shard after checking their types."""
    infos = metadata.get("clips", {}) if isinstance(metadata, dict) else None
    if not isinstance(infos, dict) or not all(isinstance(info, dict) for info in infos.values()):
        raise DataError(f"{path} has invalid clip metadata; expected an object for each clip; create it again")
    description = metadata.get("description")
    if description is not None:
        check_description(description, str(path))
    return description, infos


def read_part(part: StoredTensor, axis: int, start: int, stop: int) -> Tensor:
    """Read a slice of a tensor along an axis, without the rest of the file."""
    status = part.path.stat()
    stored = _opened(part.path, status.st_ino, status.st_mtime_ns).get_slice(part.key)
    values: Tensor = stored[:, start:stop] if axis else stored[start:stop]
    return values.to(torch.float32)


@functools.lru_cache(maxsize=64)
def _opened(path: Path, *_: int) -> Any:
    """A memory-mapped file, kept open; the further arguments tell a file from another of that name."""
    return safe_open(path, "pt")
