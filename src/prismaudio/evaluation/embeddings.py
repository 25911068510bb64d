"""Embeddings of clips and texts by encoders, kept in files so that a comparison goes on where it stopped."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING

import torch
from safetensors import safe_open
from torch import Tensor

from prismaudio.data.features import find_files, gather, read_tensor
from prismaudio.errors import DataError
from prismaudio.media.files import replacing
from prismaudio.untrusted import check_file, load_json
from prismaudio.weight_files import fingerprint, save_tensors

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from prismaudio.data.manifest import ManifestEntry

SAVE_EVERY = 25
"""Embeddings that are computed between two writes of their file."""


class EmbeddingFile:
    """The embeddings that an encoder computed, by key.

    Args:
        path: The ``.safetensors`` file; one of another encoder, or a damaged one, is replaced.
        by: What the embeddings depend on besides the key, see :func:`identity`.
    """

    def __init__(self, path: Path, by: str) -> None:
        self.path, self.by = path, by
        self._rows: dict[str, Tensor] = {}
        self._n_new = 0
        if not path.is_file():
            return
        try:
            check_file(path)
            with safe_open(path, "pt") as opened:
                metadata = opened.metadata() or {}
                if metadata.get("by") == by:
                    keys, rows = load_json(metadata["keys"]), opened.get_tensor("embeddings")
                    self._rows = dict(zip(keys, rows, strict=True))
        except Exception:  # noqa: BLE001 - of a file of any content; it is computed again
            self._rows = {}

    def __contains__(self, key: str) -> bool:
        return key in self._rows

    def __getitem__(self, key: str) -> Tensor:
        return self._rows[key]

    def add(self, key: str, embedding: Tensor) -> None:
        """Add an embedding ``(dim,)``; every few, the file is written."""
        self._rows[key] = embedding.detach().float().cpu()
        self._n_new += 1
        if self._n_new % SAVE_EVERY == 0:
            self.save()

    def save(self) -> None:
        """Write the file, if there is anything new."""
        if not self._n_new:
            return
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(self.path) as part:
            keys = json.dumps(list(self._rows))
            save_tensors({"embeddings": torch.stack([*self._rows.values()])}, part, {"by": self.by, "keys": keys})
        self._n_new = 0


def identity(encoder: object, described: object) -> str:
    """A hash of what the embeddings of an encoder depend on: its class, its arguments and its weights.

    Args:
        encoder: The encoder, or another object with networks.
        described: Its arguments and version.
    """
    weights = fingerprint(encoder) if isinstance(encoder, torch.nn.Module) else ""
    kind = f"{type(encoder).__module__}.{type(encoder).__qualname__}"
    return hashlib.blake2b(repr((kind, described, weights)).encode(), digest_size=12).hexdigest()


def key_of(*parts: object) -> str:
    """The key of what an embedding is of, such as a text, or a file with its size and time.

    Example:
        >>> key_of("a dog") == key_of("a dog"), key_of("a dog") == key_of("a cat")
        (True, False)
    """
    return hashlib.blake2b(repr(parts).encode("utf-8", "surrogatepass"), digest_size=12).hexdigest()


def pooled(features: Tensor, what: str) -> Tensor:
    """The mean ``(dim,)`` of features ``(time, dim)``.

    Raises:
        DataError: There are none, or the mean is not finite.
    """
    if not len(features):
        raise DataError(f"there are no features of {what}")
    mean = features.detach().float().mean(0)
    if not bool(mean.isfinite().all()):
        raise DataError(f"the features of {what} contain NaN or infinity")
    return mean


def stored_features(
    folder: Path, stream: str, entries: Iterable[ManifestEntry]
) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Means over time of the features of clips in a folder of ``prismaudio extract``.

    Args:
        folder: The folder.
        stream: The stream, such as ``video``.
        entries: The clips.

    Returns:
        Embeddings by id, and the reasons of clips without one.

    Raises:
        DataError: The folder has no features, or none of this stream.
    """
    records, _ = gather(find_files(folder))
    streams = {name.partition(".")[0] for record in records.values() for name in record.parts}
    if stream not in streams:
        raise DataError(
            f"{folder} has no features of the stream {stream}; it has {', '.join(sorted(streams)) or 'none'}"
        )
    found, failures = {}, {}
    for entry in entries:
        record = records.get(entry.id)
        try:
            if record is None or stream not in record.parts:
                raise DataError(f"{folder} has no {stream} features of clip {entry.id}")
            found[entry.id] = pooled(read_tensor(record.parts[stream]), f"clip {entry.id}")
        except DataError as error:
            failures[entry.id] = str(error)
    return found, failures


def shuffled_weights(encoder: torch.nn.Module, seed: int = 0) -> None:
    """Shuffle the values of each weight of a network: the same architecture and scale, nothing that was learned.

    Args:
        encoder: The network, which is changed.
        seed: Seed of the order.
    """
    generator = torch.Generator().manual_seed(seed)
    parameters = {name for name, _ in encoder.named_parameters()}
    state: Mapping[str, Tensor] = encoder.state_dict()
    encoder.load_state_dict(
        {
            name: value.flatten()[torch.randperm(value.numel(), generator=generator).to(value.device)].view_as(value)
            if name in parameters
            else value
            for name, value in state.items()
        }
    )
