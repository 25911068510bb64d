"""Writes a folder of shards incrementally, without computing stored clips again."""

from __future__ import annotations

import hashlib
import itertools
import json
import re
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from prismaudio.data.description import compare
from prismaudio.data.manifest import ManifestEntry
from prismaudio.data.records import Contents
from prismaudio.data.shards import SUFFIX, index_shard, shard_bytes
from prismaudio.data.sharing import add_file, locked, remove_left_over
from prismaudio.errors import DataError
from prismaudio.media import make_writable, replacing
from prismaudio.types import LATENTS
from prismaudio.untrusted import MAX_TABLE_BYTES, check_file, parse_json

MAX_HEADER_BYTES = 32 << 20
"""Maximum size of the header of a shard; safetensors cannot read headers of more than 100 MB."""


class FeatureFolder:
    """Writes clips to shards; clips are buffered in memory until a shard is full, or :meth:`flush`.

    Several processes may write to one folder: each shard gets a unique number.

    Args:
        folder: Folder of the shards.
        description: Description of the models; it must match that of existing shards.
        shard_size: Clips per shard.
        part: Infix in the file names of this process, to distinguish processes that share the folder.

    Raises:
        DataError: The folder has features of another model, or a damaged shard.
        MediaError: The folder cannot be written to.
    """

    def __init__(self, folder: Path, description: Mapping[str, Any], shard_size: int, part: str = "") -> None:
        make_writable(folder)
        self.folder, self.description, self.shard_size, self.part = folder, description, shard_size, part
        self.done: dict[str, str] = {}
        self.n_written = 0
        self._clips: dict[str, Mapping[str, Tensor]] = {}
        self._infos: dict[str, dict[str, Any]] = {}
        self._header_bytes = 0
        self._known: set[Path] = set()
        remove_left_over(folder.glob(f".shard*.part{SUFFIX}"))
        for path in self._unknown():
            contents = index_shard(path)
            self._check(contents)
            self.done |= {name: str(record.info.get("asked", "")) for name, record in contents.records.items()}

    def _unknown(self) -> list[Path]:
        """Shards that were not read yet; names that begin with a dot are unfinished."""
        found = sorted(path for path in self.folder.glob(f"[!.]*{SUFFIX}") if path not in self._known)
        self._known.update(found)
        return found

    def _check(self, contents: Contents) -> None:
        """Check that a shard was computed with the same models."""
        description, where = contents.description or {}, str(contents.path)
        compare(description.get("latents", {}), self.description["latents"], where, LATENTS)
        for name, stream in description.get("streams", {}).items():
            compare(stream, self.description["streams"].get(name, {}), where, f"{name} features")

    def _check_others(self) -> None:
        """Check that new shards of other processes are of the same model; damaged ones are ignored."""
        for path in self._unknown():
            try:
                contents = index_shard(path)
            except DataError:
                continue
            self._check(contents)

    @staticmethod
    def _number_of(path: Path) -> int:
        found = re.search(r"(\d+)$", path.stem)
        return int(found[1]) if found else -1

    def is_done(self, entry: ManifestEntry, options: str = "") -> bool:
        """Whether a clip is stored, computed from the same files, texts and options."""
        return self.done.get(entry.id) == source_hash(entry, options)

    def add(
        self, entry: ManifestEntry, values: Mapping[str, Tensor], info: Mapping[str, Any], options: str = ""
    ) -> Path | None:
        """Buffer a clip; return the path of the shard if this completes one."""
        self._clips[entry.id] = values
        self._infos[entry.id] = {**info, "asked": source_hash(entry, options)}
        per_tensor = len(entry.id.encode()) + 150
        self._header_bytes += len(json.dumps(info)) + per_tensor * (1 + len(values))
        full = len(self._clips) >= self.shard_size or self._header_bytes > MAX_HEADER_BYTES
        return self.flush() if full else None

    def flush(self) -> Path | None:
        """Write the buffered clips; return the path of their shard, None if there are none."""
        if not self._clips:
            return None
        data = shard_bytes(self._clips, self._infos, self.description)
        with locked(self.folder):
            self._check_others()
            numbers = (self._number_of(path) for path in self._known)
            first = 1 + max(numbers, default=-1)
            targets = (self.folder / f"shard{self.part}-{number:05d}{SUFFIX}" for number in itertools.count(first))
            path = add_file(targets, lambda part: part.write_bytes(data))
        self._known.add(path)
        self.done |= {name: info["asked"] for name, info in self._infos.items()}
        self.n_written += len(self._clips)
        self._clips, self._infos, self._header_bytes = {}, {}, 0
        return path

    def report(self, failures: Mapping[str, str], ids: Collection[str] = ()) -> Path | None:
        """Write the list of failed clips, one JSON object per line; no file if there are none.

        Args:
            failures: Reason by id of each failed clip.
            ids: Clips of this run; entries of other clips are kept.
        """
        path = self.folder / f"failures{self.part}.jsonl"
        with locked(self.folder):
            listed = {name: why for name, why in _failures(path).items() if name not in ids} | dict(failures)
            if not listed:
                path.unlink(missing_ok=True)
                return None
            lines = [json.dumps({"id": name, "reason": why}, ensure_ascii=False) for name, why in listed.items()]
            with replacing(path) as part:  # file names may contain bytes that are not UTF-8, escaped in JSON
                part.write_text("\n".join(lines) + "\n", encoding="utf-8", errors="backslashreplace")
        return path if failures else None


def _failures(path: Path) -> dict[str, str]:
    """The readable entries of a list of failures."""
    found: dict[str, str] = {}
    try:
        check_file(path, MAX_TABLE_BYTES)
        lines = path.read_text(encoding="utf-8").split("\n")
    except (OSError, ValueError, DataError):
        return found
    for line in lines:
        try:
            row = parse_json(line, str(path))
            found[str(row["id"])] = str(row["reason"])
        except (DataError, KeyError, TypeError):
            continue
    return found


def source_hash(entry: ManifestEntry, options: str = "") -> str:
    """Hash, twelve hex digits, of everything but the model that the features of a clip depend on."""
    files = [(path.name, path.stat().st_size) for path in (entry.video, entry.audio) if path is not None]
    plans = [str(plan) for plan in entry.plans]
    inputs = [files, entry.captions, plans, entry.start_s, entry.end_s, entry.split, options]
    return hashlib.sha256(json.dumps(inputs).encode()).hexdigest()[:12]
