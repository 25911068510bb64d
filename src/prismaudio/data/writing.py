"""A folder of shards that grows: what is in it stays, and is not computed again."""

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
"""What a shard says of its clips; of safetensors files with more than 100 MB of it nothing can be read."""


class FeatureFolder:
    """Writes clips to shards; clips wait in memory until a shard is full, or :meth:`flush`.

    Several processes may write to one folder: each shard gets a number that no other one has.

    Args:
        folder: Where the shards are.
        description: What the clips are computed with; it must be that of the shards that are there.
        shard_size: Clips in a shard.
        part: What distinguishes the files of this process from those of others that write into the same folder.

    Raises:
        DataError: The folder has features of another model, or a damaged shard.
        MediaError: It cannot be written to.
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
        """Shards that were not looked at yet; a name that begins with a dot is not finished."""
        found = sorted(path for path in self.folder.glob(f"[!.]*{SUFFIX}") if path not in self._known)
        self._known.update(found)
        return found

    def _check(self, contents: Contents) -> None:
        """See that a shard is of the same model."""
        said, where = contents.description or {}, str(contents.path)
        compare(said.get("latents", {}), self.description["latents"], where, LATENTS)
        for name, stream in said.get("streams", {}).items():
            compare(stream, self.description["streams"].get(name, {}), where, f"{name} features")

    def _check_others(self) -> None:
        """See that what other processes have written meanwhile is of the same model; its damage is theirs."""
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
        """Whether a clip is in a shard, computed from the same files, texts and options."""
        return self.done.get(entry.id) == source_hash(entry, options)

    def add(
        self, entry: ManifestEntry, values: Mapping[str, Tensor], info: Mapping[str, Any], options: str = ""
    ) -> Path | None:
        """Keep a clip; gives the path of the shard, if that made one full."""
        self._clips[entry.id] = values
        self._infos[entry.id] = {**info, "asked": source_hash(entry, options)}
        per_tensor = len(entry.id.encode()) + 150
        self._header_bytes += len(json.dumps(info)) + per_tensor * (1 + len(values))
        full = len(self._clips) >= self.shard_size or self._header_bytes > MAX_HEADER_BYTES
        return self.flush() if full else None

    def flush(self) -> Path | None:
        """Write the clips that wait; gives the path of their shard, if there were any."""
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
        """Write the list of clips that failed, one JSON object a line; no file when there are none.

        Args:
            failures: Reason of each clip that failed.
            ids: Clips of this run; what is listed of others stays.
        """
        path = self.folder / f"failures{self.part}.jsonl"
        with locked(self.folder):
            listed = {name: why for name, why in _failures(path).items() if name not in ids} | dict(failures)
            if not listed:
                path.unlink(missing_ok=True)
                return None
            lines = [json.dumps({"id": name, "reason": why}, ensure_ascii=False) for name, why in listed.items()]
            with replacing(path) as part:  # names of files may have bytes that are not UTF-8; JSON has escapes for them
                part.write_text("\n".join(lines) + "\n", encoding="utf-8", errors="backslashreplace")
        return path if failures else None


def _failures(path: Path) -> dict[str, str]:
    """What a list of failures holds, as far as it can be read."""
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
    """Twelve letters for all that the features of a clip depend on, apart from the model."""
    files = [(path.name, path.stat().st_size) for path in (entry.video, entry.audio) if path is not None]
    plans = [str(plan) for plan in entry.plans]
    said = [files, entry.captions, plans, entry.start_s, entry.end_s, entry.split, options]
    return hashlib.sha256(json.dumps(said).encode()).hexdigest()[:12]
