"""Folders in the layout of transformers, on this machine or on the hub: ``config.json`` and safetensors weights."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors import SafetensorError, safe_open

from prismaudio.downloads import cache_home, fetch, hub_error, in_cache, is_repository
from prismaudio.errors import CheckpointError, one_line, reason
from prismaudio.paths import expanded

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

CONFIG, WEIGHTS, INDEX = "config.json", "model.safetensors", "model.safetensors.index.json"
MAX_JSON_BYTES = 50_000_000
"""Maximum size of a JSON file; the index of a network with 100,000 tensors has 10 MB."""


@dataclass(frozen=True)
class PublishedFolder:
    """A folder in the layout of transformers that a third party publishes and that this project does not redistribute.

    Args:
        repository: Repository on the Hugging Face hub, ``owner/name``; the folder has the same name.
        size_mb: Approximate size in MB; None if it is not known.
        licence: Its licence; None if it is not known.
        files: Required files besides the configuration and the weights, such as ``tokenizer.json``.
        bundle: Repository with the folder among others and without a gate; None if there is none.
    """

    repository: str
    size_mb: int | None = None
    licence: str | None = None
    files: Sequence[str] = ()
    bundle: str | None = None

    @property
    def name(self) -> str:
        """Name of the folder."""
        return self.repository.rpartition("/")[2]

    @property
    def place(self) -> Path:
        """Path of the folder in the cache of PrismAudio."""
        return cache_home() / "weights" / self.name

    def advice(self) -> str:
        """Name, size, licence and source of the folder, and where to put it."""
        known = {f"{self.size_mb} MB": self.size_mb, f"licence {self.licence}": self.licence}
        what = f" ({', '.join(text for text, value in known.items() if value)})" if any(known.values()) else ""
        page = f"https://huggingface.co/{self.repository}"
        also = f" (also in {self.bundle}, without a gate)" if self.bundle else ""
        return f"the folder {self.name}{what} from {page}{also}; put it at {self.place}, or give its path"

    def find(self, given: str | Path | None = None, revision: str | None = None) -> Path:
        """Find the folder on this machine, or download its files.

        Args:
            given: This or another folder with such a network, a folder that contains this one, or a repository on the
                hub with either, ``owner/name``; None to search the cache of PrismAudio, then :attr:`repository`.
            revision: Branch, tag or commit of a repository.

        Raises:
            CheckpointError: The folder is not available, or lacks a file.
        """
        if given is None and (revision is not None or not (self.place / CONFIG).is_file()):
            return self._download(self.repository, revision)
        local = self.place if given is None else expanded(given)
        if not local.exists() and is_repository(str(given)):
            return self._download(str(given), revision)
        if not local.is_dir():
            raise CheckpointError(f"{local} is not a folder; expected {self.advice()}")
        if revision is not None:
            raise CheckpointError(f"{local} is a folder; the revision {revision} applies to repositories only")
        for folder in (local, local / self.name):
            if (folder / CONFIG).is_file():
                for name in self.files:
                    if not (folder / name).is_file():
                        raise CheckpointError(f"{folder} has no {name}; get it from where its weights are from")
                return folder
        raise CheckpointError(f"{local} has no {CONFIG}; expected {self.advice()}")

    def _download(self, repository: str, revision: str | None) -> Path:
        """The folder of a repository in the cache of the hub's client; only the files that are read are downloaded."""
        hub = _Repository(repository, revision)
        places = sorted(("", f"{self.name}/"), key=lambda place: not hub.has(place + CONFIG))
        try:
            for place in places:
                config = hub.fetch(place + CONFIG)
                if config is not None:
                    break
            else:
                raise CheckpointError(f"{repository} on the hub has no {CONFIG}; get {self.advice()}")
            hub.revision = config.parents[place.count("/")].name  # the commit, so that all files are of one
            names = [place + name for name in self.files]
            if hub.has(place + INDEX) or hub.fetch(place + WEIGHTS) is None:
                index = hub.fetch(place + INDEX)
                if index is None:
                    raise CheckpointError(
                        f"{repository} on the hub has no {WEIGHTS}, and other formats are not read, since they can run "
                        "code; name a revision that has it, or load it with transformers and save_pretrained it"
                    )
                names += [place + shard for shard in sorted(set(shards(index).values()))]
            for name in names:
                if hub.fetch(name) is None:
                    raise CheckpointError(f"{repository} on the hub has no {name}; name a repository that has it")
        except CheckpointError:
            raise
        except Exception as error:  # the client raises errors of many libraries
            own = repository == self.repository
            page = f"https://huggingface.co/{repository}"
            advice = f"get {self.advice()}" if own else f"get its files from {page}, and give their folder"
            other = f"name {self.bundle}, which has {self.name} without a gate" if own and self.bundle else ""
            raise hub_error(error, repository, revision, advice, ungated=other) from error
        return config.parent


class _Repository:
    """The files of a repository, through the cache of the hub's client."""

    def __init__(self, name: str, revision: str | None) -> None:
        self.name, self.revision = name, revision

    def has(self, path: str) -> bool:
        """Whether a file is in the cache."""
        return in_cache(self.name, path, self.revision)

    def fetch(self, path: str) -> Path | None:
        """A file in the cache, downloaded if it is not there; None if the repository does not have it."""
        from huggingface_hub.errors import RemoteEntryNotFoundError

        try:
            return fetch(self.name, path, self.revision)
        except RemoteEntryNotFoundError:
            return None


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object from a file.

    Raises:
        CheckpointError: The file cannot be read, or is no JSON object.
    """
    try:
        if path.stat().st_size > MAX_JSON_BYTES:
            raise CheckpointError(f"{path} has {path.stat().st_size:,} bytes; expected at most {MAX_JSON_BYTES:,}")
        found = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise CheckpointError(f"cannot read {path}: {reason(error)}") from error
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{path} is damaged: {one_line(error, 160)}; copy or download it again") from error
    if not isinstance(found, dict):
        raise CheckpointError(f"{path} contains a {type(found).__name__}; expected an object")
    return found


def read_tensors(folder: Path, renamed: Callable[[str], str | None]) -> dict[str, torch.Tensor]:
    """Read some tensors of a folder, as float32 if they are floating-point numbers; others are not read.

    Args:
        folder: The folder, with one safetensors file or with shards and their index.
        renamed: The name in the result for a name in the folder; None for a tensor that is not read.

    Raises:
        CheckpointError: A file is missing or damaged.
    """
    if (folder / INDEX).is_file():
        names = sorted(set(shards(folder / INDEX).values()))
    elif (folder / WEIGHTS).is_file():
        names = [WEIGHTS]
    else:
        raise CheckpointError(
            f"{folder} has no {WEIGHTS}, and other formats are not read, since they can run code; load it with "
            "transformers and save_pretrained it"
        )
    found = {}
    for name in names:
        try:
            with safe_open(folder / name, "pt") as file:
                for key in file.keys():  # noqa: SIM118 - not a mapping
                    if (wanted := renamed(key)) is not None:
                        tensor = file.get_tensor(key)
                        found[wanted] = tensor.float() if tensor.is_floating_point() else tensor
        except (SafetensorError, OSError, ValueError, RuntimeError) as error:
            raise CheckpointError(
                f"{folder / name} is missing, truncated or damaged ({one_line(error, 160)}); copy or download it again"
            ) from error
    return found


def shards(index: Path) -> dict[str, str]:
    """The file of each tensor, by an index of shards.

    Raises:
        CheckpointError: The index is damaged.
    """
    found = read_json(index).get("weight_map")
    if not isinstance(found, dict) or not all(isinstance(s, str) and Path(s).name == s for s in found.values()):
        raise CheckpointError(f"{index} is damaged: expected the name of a file for each tensor under weight_map")
    return found
