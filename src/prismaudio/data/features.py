"""A dataset of latents and features on disk, validated before training."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from torch import Tensor

from prismaudio.data.description import compare
from prismaudio.data.manifest import ManifestEntry
from prismaudio.data.published import DAMAGED, index_npz, read_npz
from prismaudio.data.records import UNTIMED, Contents, Record, StoredTensor
from prismaudio.data.shards import index_shard, read_part, shard_number
from prismaudio.data.tars import index_tar, read_tar
from prismaudio.errors import DataError
from prismaudio.types import LATENTS
from prismaudio.untrusted import check_file

INDEX = {".safetensors": index_shard, ".npz": index_npz, ".tar": index_tar}
"""Functions that index files of latents and features, by suffix."""
TOLERANCE_S = 0.5
"""Allowed difference between the durations of latents and features: encoders drop incomplete segments."""


@dataclass
class FeatureSet:
    """Clips whose latents and features are on disk.

    Args:
        records: The clips that can be trained on.
        streams: Description of each stream, including its ``width``.
        latents: Description of the latents, including their ``channels``.
        failures: Reason by id of each clip that is skipped.
    """

    records: list[Record]
    streams: dict[str, dict[str, Any]] = field(default_factory=dict)
    latents: dict[str, Any] = field(default_factory=dict)
    failures: dict[str, str] = field(default_factory=dict)

    @property
    def latent_rate_hz(self) -> float | None:
        """Latent frames per second, if the files state it."""
        if not {"hop", "sample_rate_hz"} <= self.latents.keys():
            return None
        return float(self.latents["sample_rate_hz"] / self.latents["hop"])

    def is_timed(self, stream: str) -> bool:
        """Whether a stream has a time axis."""
        return stream != UNTIMED and self.streams.get(stream, {}).get("rate_hz", 1.0) is not None

    def group(self, stream: str) -> int:
        """Number of consecutive features of a stream that must not be separated."""
        return int(self.streams.get(stream, {}).get("group", 1))


def find_files(folder: Path) -> list[Path]:
    """Files of latents and features in a folder, sorted by the number of the shard, which grows, then by name.

    Raises:
        DataError: There are none.
    """
    found = (path for path in folder.rglob("*") if path.suffix in INDEX and not path.name.startswith("."))
    files = sorted(
        found, key=lambda path: (path.parent, shard_number(path) if path.name.startswith("shard") else -1, path)
    )
    if not files:
        raise DataError(
            f"there are no features in {folder}; expected .safetensors, .tar or .npz files, "
            "as written by prismaudio extract"
        )
    return files


def index_file(path: Path) -> Contents:
    """The contents of one file.

    Raises:
        DataError: It cannot be read.
    """
    index = INDEX.get(path.suffix)
    if index is None:
        raise DataError(f"{path} is not a supported feature file; expected {', '.join(INDEX)}")
    try:
        check_file(path)
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror}") from error
    return index(path)


def gather(files: Iterable[Path]) -> tuple[dict[str, Record], list[Contents]]:
    """All clips of some files; of a clip in several files, the last one is used."""
    contents = [index_file(path) for path in dict.fromkeys(files)]
    return {name: record for one in contents for name, record in one.records.items()}, contents


def from_entries(entries: Sequence[ManifestEntry], folder: Path | None) -> tuple[dict[str, Record], list[Contents]]:
    """Records of the lines of a manifest, from the files that they name or by id from a folder of features."""
    files = [path for entry in entries for path in (entry.features, entry.latents) if path is not None]
    known, contents = gather(find_files(folder) if folder else files)
    by_path = {one.path: one.records for one in contents}
    records = {}
    for entry in entries:
        parts: dict[str, StoredTensor] = {}
        info: dict[str, Any] = {}
        for own in (known,) if folder else (by_path.get(path, {}) for path in (entry.features, entry.latents) if path):
            found = own.get(entry.id) or (next(iter(own.values())) if len(own) == 1 and not folder else None)
            if found is not None:
                parts, info = {**parts, **found.parts}, {**info, **found.info}
        records[entry.id] = Record(entry.id, parts, info | ({"split": entry.split} if entry.split else {}))
    return records, contents


def look_over(records: Mapping[str, Record], contents: Sequence[Contents], *, verify: bool) -> FeatureSet:
    """Collect the clips that can be trained on.

    Invalid clips are skipped; inconsistencies between files are errors.

    Args:
        records: The clips.
        contents: The files that contain them.
        verify: Read every value once, and skip clips with NaN or infinity.

    Raises:
        DataError: Files were computed with different models, or the features of a stream differ in dim.
    """
    found = FeatureSet([])
    _collect_descriptions(found, contents)
    _check_dims(found, records)
    for name, record in records.items():
        reason = wrong(record, found) or (not_finite(record) if verify else "")
        if reason:
            found.failures[name] = reason
        else:
            found.records.append(record)
    return found


def _collect_descriptions(found: FeatureSet, contents: Sequence[Contents]) -> None:
    """Collect the descriptions of all files, which must agree."""
    first: Contents | None = None
    for one in contents:
        description = one.description
        if description is None:
            continue
        if first is None or first.description is None:
            first = one
            found.latents = dict(description.get("latents", {}))
            found.streams = {name: dict(stream) for name, stream in description.get("streams", {}).items()}
            continue
        if description is first.description:
            continue
        where = f"{one.path.name}, unlike those of {first.path.name},"
        compare(description.get("latents", {}), found.latents, where, LATENTS)
        for name, stream in description.get("streams", {}).items():
            compare(stream, found.streams.get(name, {}), where, f"{name} features")


def _check_dims(found: FeatureSet, records: Mapping[str, Record]) -> None:
    """Collect the dims of streams and the channels of latents, which must be the same for all clips."""
    first_clip: dict[str, str] = {}
    for name, record in records.items():
        for key, part in record.parts.items():
            kind = key.partition(".")[0]
            if len(part.shape) != 2:
                raise DataError(f"the {kind} of {name} in {part.path} have shape {part.shape}; expected two dimensions")
            own = found.latents if kind == LATENTS else found.streams.setdefault(kind, {})
            word, size = ("channels", part.shape[0]) if kind == LATENTS else ("width", part.shape[1])
            if own.setdefault(word, size) != size:
                other = f"those of {first_clip[kind]}" if kind in first_clip else "the description"
                raise DataError(
                    f"the {kind} of {name} in {part.path} have {word} {size}, {other} {own[word]}; "
                    "they were computed by different models: run prismaudio extract again, into a new folder"
                )
            first_clip.setdefault(kind, name)


def wrong(record: Record, found: FeatureSet) -> str:
    """Why a clip cannot be trained on, judging by the shapes of its tensors; empty if it can."""
    if LATENTS not in record.parts:
        return "it has no latents" if record.parts else "it has no features"
    if not record.n_frames:
        return "its latents are empty"
    rate_hz = found.latent_rate_hz
    for key, part in record.parts.items():
        stream = key.partition(".")[0]
        stream_hz = found.streams.get(stream, {}).get("rate_hz")
        if stream == LATENTS or not part.shape[0] or not found.is_timed(stream):
            continue
        if part.shape[0] % found.group(stream):
            return f"its {part.shape[0]} {stream} features are not a multiple of {found.group(stream)}"
        if rate_hz and stream_hz:
            latents_s, features_s = record.n_frames / rate_hz, part.shape[0] / stream_hz
            left_out_s = TOLERANCE_S + found.group(stream) / stream_hz
            if not math.isclose(latents_s, features_s, rel_tol=0.02, abs_tol=left_out_s):
                return f"its latents last {latents_s:.2f} s, its {stream} features {features_s:.2f} s"
    return ""


def not_finite(record: Record) -> str:
    """Which tensor of a clip has values that are not finite; empty if none has."""
    for key, part in record.parts.items():
        try:
            values = read_tensor(part)
        except DataError as error:
            return str(error)
        if not bool(torch.isfinite(values).all()):
            return f"its {key} in {part.path} contain NaN or infinity"
    return ""


def read_tensor(part: StoredTensor, start: int = 0, stop: int | None = None, *, axis: int = 0) -> Tensor:
    """Read a tensor or a slice of it as float32.

    Args:
        part: Location of the tensor.
        start: First frame or feature.
        stop: End of the slice, exclusive; None for the end of the tensor.
        axis: Time axis: 1 for latents, 0 for features.

    Raises:
        DataError: The file is damaged.
    """
    last = part.shape[axis] if stop is None else stop
    try:
        if part.path.suffix == ".safetensors":
            return read_part(part, axis, start, last)
        values = read_npz(part.path, part.key) if part.path.suffix == ".npz" else read_tar(part)
    except (*DAMAGED, SafetensorError) as error:
        raise DataError(f"{part.key} in {part.path} cannot be read: {error}; create it again") from error
    return values[:, start:last] if axis else values[start:last]
