"""A folder of shards that grows: what is in it stays, and is not computed again."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from prismaudio.data.description import compare
from prismaudio.data.manifest import Entry
from prismaudio.data.records import LATENTS
from prismaudio.data.shards import index_shard, write_shard
from prismaudio.media import make_writable, replacing

SUFFIX = ".safetensors"


class FeatureFolder:
    """Writes clips to shards; clips wait in memory until a shard is full, or :meth:`flush`.

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
        there = sorted(folder.glob(f"[!.]*{SUFFIX}"))  # a name that begins with a dot is not finished
        for path in there:
            self._look_at(path)
        self._number = 1 + max((self._number_of(path) for path in there), default=-1)

    def _look_at(self, path: Path) -> None:
        """Remember what is in a shard, which must be of the same model."""
        contents = index_shard(path)
        said = contents.description or {}
        compare(said.get("latents", {}), self.description["latents"], str(path), LATENTS)
        for name, stream in said.get("streams", {}).items():
            compare(stream, self.description["streams"].get(name, {}), str(path), f"{name} features")
        self.done |= {name: str(record.info.get("asked", "")) for name, record in contents.records.items()}

    @staticmethod
    def _number_of(path: Path) -> int:
        found = re.search(r"(\d+)$", path.stem)
        return int(found[1]) if found else -1

    def is_done(self, entry: Entry, options: str = "") -> bool:
        """Whether a clip is in a shard, computed from the same files, texts and options."""
        return self.done.get(entry.id) == asked(entry, options)

    def add(
        self, entry: Entry, values: Mapping[str, Tensor], info: Mapping[str, Any], options: str = ""
    ) -> Path | None:
        """Keep a clip; gives the path of the shard, if that made one full."""
        self._clips[entry.id] = values
        self._infos[entry.id] = {**info, "asked": asked(entry, options)}
        return self.flush() if len(self._clips) >= self.shard_size else None

    def flush(self) -> Path | None:
        """Write the clips that wait; gives the path of their shard, if there were any."""
        if not self._clips:
            return None
        path = self.folder / f"shard{self.part}-{self._number:05d}{SUFFIX}"
        write_shard(path, self._clips, self._infos, self.description)
        self.done |= {name: info["asked"] for name, info in self._infos.items()}
        self.n_written += len(self._clips)
        self._number += 1
        self._clips, self._infos = {}, {}
        return path

    def report(self, failures: Mapping[str, str]) -> Path | None:
        """Write the list of clips that failed, one JSON object a line; no file when there are none."""
        path = self.folder / f"failures{self.part}.jsonl"
        if not failures:
            path.unlink(missing_ok=True)
            return None
        lines = [json.dumps({"id": name, "reason": why}, ensure_ascii=False) for name, why in failures.items()]
        with replacing(path) as part:
            part.write_text("\n".join(lines) + "\n", encoding="utf-8")
        return path


def asked(entry: Entry, options: str = "") -> str:
    """Twelve letters for all that the features of a clip depend on, apart from the model."""
    files = [(path.name, path.stat().st_size) for path in (entry.video, entry.audio) if path is not None]
    plans = [str(plan) for plan in entry.plans]
    said = [files, entry.captions, plans, entry.start_s, entry.end_s, entry.split, options]
    return hashlib.sha256(json.dumps(said).encode()).hexdigest()[:12]
