"""Shards: one safetensors file with the latents and features of many clips, and what they were computed with."""

from __future__ import annotations

import functools
import json
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
METADATA = "prismaudio"
"""Key of our JSON in the header of a file."""


def shard_bytes(
    clips: Mapping[str, Mapping[str, Tensor]], infos: Mapping[str, Any], description: Mapping[str, Any]
) -> bytes:
    """The content of a shard.

    Args:
        clips: Tensors of each clip by name; in the file their keys are ``<id>/<name>``.
        infos: What else is known of each clip.
        description: What the tensors were computed with.
    """
    tensors = {f"{name}/{part}": value.contiguous() for name, parts in clips.items() for part, value in parts.items()}
    said = json.dumps({"description": description, "clips": infos}, ensure_ascii=False)
    return save(tensors, {METADATA: said})


def index_shard(path: Path) -> Contents:
    """What a safetensors file holds; only its header is read.

    Raises:
        DataError: It is damaged, truncated, or no safetensors file.
    """
    try:
        with safe_open(path, "pt") as opened:
            text = (opened.metadata() or {}).get(METADATA, "{}")
            shapes = {key: tuple(opened.get_slice(key).get_shape()) for key in opened.keys()}  # noqa: SIM118 - no mapping
    except (SafetensorError, OSError, ValueError) as error:
        raise DataError(f"{path} is truncated, damaged or no safetensors file ({error}); make it again") from error
    said = parse_json(text, f"{path}: what it says of itself", None)
    description, infos = _checked(said, path)
    found: dict[str, dict[str, StoredTensor]] = {}
    for key, shape in shapes.items():
        name, _, part = key.rpartition("/")
        if is_part(part, (description or {}).get("streams", ())):
            found.setdefault(name or readable_name(path.stem), {})[part] = StoredTensor(path, key, shape)
    records = {name: Record(name, parts, infos.get(name, {})) for name, parts in found.items()}
    return Contents(path, records, description)


def _checked(said: Any, path: Path) -> tuple[Mapping[str, Any] | None, Mapping[str, Mapping[str, Any]]]:
    """Description and infos of a shard, if they are of the types that they should be."""
    infos = said.get("clips", {}) if isinstance(said, dict) else None
    if not isinstance(infos, dict) or not all(isinstance(info, dict) for info in infos.values()):
        raise DataError(f"{path} says of its clips what cannot be read; expected an object for each; make it again")
    description = said.get("description")
    if description is not None:
        check_description(description, str(path))
    return description, infos


def read_part(part: StoredTensor, axis: int, start: int, stop: int) -> Tensor:
    """A stretch of a tensor along an axis; nothing else of the file is read."""
    stretch = _opened(part.path).get_slice(part.key)
    values: Tensor = stretch[:, start:stop] if axis else stretch[start:stop]
    return values.to(torch.float32)


@functools.lru_cache(maxsize=64)
def _opened(path: Path) -> Any:
    """A file that stays mapped into memory: what is in use of it is what takes room."""
    return safe_open(path, "pt")
