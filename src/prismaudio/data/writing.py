"""Writes a folder of features incrementally, without computing stored clips again."""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from prismaudio.data.description import compare
from prismaudio.data.extraction import Extracted
from prismaudio.data.features import index_file
from prismaudio.data.manifest import ManifestEntry
from prismaudio.data.published import write_npz
from prismaudio.data.records import Contents, member_name
from prismaudio.data.shards import shard_bytes, shard_number
from prismaudio.data.sharing import add_file, flush, locked, remove_left_over
from prismaudio.data.tars import tar_bytes
from prismaudio.errors import DataError
from prismaudio.media import make_writable, replacing
from prismaudio.media.files import MAX_NAME_BYTES, short_name
from prismaudio.types import LATENTS
from prismaudio.untrusted import MAX_TABLE_BYTES, check_file, parse_json

MAX_HEADER_BYTES = 32 << 20
"""Maximum size of the header of a shard; safetensors cannot read headers of more than 100 MB."""


FAILURES = "failures*.jsonl"
"""Names of the lists of clips that cannot be computed."""
FORMATS = {"safetensors": ".safetensors", "webdataset": ".tar", "npz": ".npz"}
"""Suffix of the files of each format; with ``npz``, each clip has a file of its own."""


class FeatureFolder:
    """Writes clips to files; clips are buffered in memory until a shard is full, or :meth:`flush`.

    Several processes may write to one folder: each shard gets a unique number.

    Args:
        folder: Folder of the files.
        description: Description of the models; it must match that of existing files.
        shard_size: Clips per shard; with ``npz``, the number of files that are written together.
        part: Infix in the file names of this process, to distinguish processes that share the folder.
        kind: One of :data:`FORMATS`.

    Raises:
        DataError: The folder has features of another model or in another format, or a damaged file.
        MediaError: The folder cannot be written to.
    """

    def __init__(
        self,
        folder: Path,
        description: Mapping[str, Any],
        shard_size: int,
        part: str = "",
        kind: str = "safetensors",
    ) -> None:
        make_writable(folder)
        self.folder, self.description, self.shard_size, self.part = folder, description, shard_size, part
        self.kind, self.suffix = kind, FORMATS[kind]
        self.done: dict[str, str] = {}
        self.n_written = 0
        self._clips: dict[str, Extracted] = {}
        self._header_bytes = 0
        self._known: set[Path] = set()
        self._of_others: set[Path] = set()
        remove_left_over(folder.glob(f".*.part{self.suffix}"))
        self._check_format()
        for path in self._unknown():
            try:
                contents = index_file(path)
            except DataError as error:
                raise DataError(f"{error}, or delete it and run again: its clips are computed again") from error
            self._check(contents)
            if not all("asked" in record.info for record in contents.records.values()):
                self._of_others.add(path)
            lacking = description["streams"].keys() - (contents.description or {}).get("streams", {}).keys()
            for name, record in contents.records.items():
                whole = not lacking and (not description["latents"] or LATENTS in record.parts)
                self.done[name] = str(record.info.get("asked", "")) if whole else ""

    def _check_format(self) -> None:
        """Check that no files of another format were extracted into the folder."""
        for kind, suffix in FORMATS.items():
            other = None if kind == self.kind else next(self.folder.glob(f"[!.]*{suffix}"), None)
            if other is None or not _is_extracted(other):
                continue
            own = next(self.folder.glob(f"[!.]*{self.suffix}"), None)
            if own is not None and _is_extracted(own):
                raise DataError(
                    f"{self.folder} has features in several formats, {own.name} and {other.name}; move those of one "
                    "format elsewhere, or choose another folder with -o"
                )
            raise DataError(
                f"{self.folder} has features in the format {kind}: {other.name}; continue with --format {kind}, or "
                "choose another folder with -o"
            )

    def _unknown(self) -> list[Path]:
        """Files that were not read yet, the newest last; names that begin with a dot are unfinished."""
        found = (path for path in self.folder.glob(f"[!.]*{self.suffix}") if path not in self._known)
        ordered = sorted(found, key=lambda path: (shard_number(path), path))
        self._known.update(ordered)
        return ordered

    def _check(self, contents: Contents) -> None:
        """Check that a file was computed with the same models."""
        description, where = contents.description or {}, str(contents.path)
        compare(description.get("latents", {}), self.description["latents"], where, LATENTS)
        for name, stream in description.get("streams", {}).items():
            compare(stream, self.description["streams"].get(name, {}), where, f"{name} features")

    def _check_others(self) -> None:
        """Check that new files of other processes are of the same format and model; damaged ones are ignored."""
        self._check_format()
        for path in self._unknown():
            try:
                contents = index_file(path)
            except DataError:
                continue
            self._check(contents)

    def has_clips(self) -> bool:
        """Whether the folder has clips, also those of other processes."""
        self._unknown()
        return bool(self._known)

    def is_done(self, entry: ManifestEntry, options: str = "") -> bool:
        """Whether a clip is stored, computed from the same files, texts and options."""
        return self.done.get(entry.id) == source_hash(entry, options)

    def add(self, clip: Extracted, options: str = "") -> Path | None:
        """Buffer a clip; return the path of the last file if this completes a shard."""
        info = {**clip.info, "asked": source_hash(clip.entry, options)}
        self._clips[clip.entry.id] = replace(clip, info=info)
        per_tensor = len(clip.entry.id.encode()) + 150
        self._header_bytes += len(json.dumps(info)) + per_tensor * (1 + len(clip.values))
        full = len(self._clips) >= self.shard_size or self._header_bytes > MAX_HEADER_BYTES
        return self.flush() if full else None

    def flush(self) -> Path | None:
        """Write the buffered clips; return the path of their shard, or of the last of their files; None without clips.

        Raises:
            DataError: Another process writes features of another model to the folder.
            MediaError: The disk is full, or the folder cannot be written to; no unfinished file remains.
        """
        if not self._clips:
            return None
        clips = list(self._clips.values())
        path = self._write_files(clips) if self.kind == "npz" else self._write_shard(clips)
        self.done |= {clip.entry.id: clip.info["asked"] for clip in clips}
        self.n_written += len(clips)
        self._clips, self._header_bytes = {}, 0
        return path

    def _write_shard(self, clips: Sequence[Extracted]) -> Path:
        if self.kind == "webdataset":
            data = tar_bytes(clips, self.description)
        else:
            values = {clip.entry.id: clip.values for clip in clips}
            data = shard_bytes(values, {clip.entry.id: clip.info for clip in clips}, self.description)
        with locked(self.folder):
            self._check_others()
            first = 1 + max(map(shard_number, self._known), default=-1)
            targets = (self.folder / f"shard{self.part}-{number:05d}{self.suffix}" for number in itertools.count(first))
            path = add_file(targets, lambda part: part.write_bytes(data))
        self._known.add(path)
        return path

    def _write_files(self, clips: Sequence[Extracted]) -> Path:
        """Write one file for each clip, named after its id; it replaces an older one of that clip."""
        with locked(self.folder):
            self._check_others()
            for clip in clips:
                name = short_name(member_name(clip.entry.id, "/\\"), MAX_NAME_BYTES - len(self.suffix))
                path = self.folder / f"{name}{self.suffix}"
                if path in self._of_others:
                    raise DataError(f"{path} was not written by prismaudio extract; choose another folder with -o")
                with replacing(path) as part:
                    write_npz(part, clip, self.description)
                    flush(part)
                self._known.add(path)
        return path

    def report(self, failures: Mapping[str, str], ids: Collection[str] = ()) -> Path | None:
        """Write the list of failed clips, one JSON object per line; no file if there are none.

        Args:
            failures: Reason by id of each failed clip.
            ids: Clips of this run; entries of other clips are kept.
        """
        path = self.folder / f"failures{self.part}.jsonl"
        with locked(self.folder):
            for other in {*self.folder.glob(FAILURES), path}:  # also those of runs with another number of processes
                listed = _failures(other)
                kept = {name: why for name, why in listed.items() if name not in ids}
                kept |= failures if other == path else {}
                if kept != listed:
                    _write_failures(other, kept)
        return path if failures else None


def read_failures(folder: Path) -> dict[str, str]:
    """Reason of each clip of a folder that could not be computed, by id."""
    return {name: why for path in sorted(folder.glob(FAILURES)) for name, why in _failures(path).items()}


def _write_failures(path: Path, listed: Mapping[str, str]) -> None:
    if not listed:
        path.unlink(missing_ok=True)
        return
    lines = [json.dumps({"id": name, "reason": why}, ensure_ascii=False) for name, why in listed.items()]
    with replacing(path) as part:  # file names may contain bytes that are not UTF-8, escaped in JSON
        part.write_text("\n".join(lines) + "\n", encoding="utf-8", errors="backslashreplace")


def _is_extracted(path: Path) -> bool:
    """Whether a file was written by a :class:`FeatureFolder`."""
    try:
        records = index_file(path).records.values()
    except DataError:
        return False
    return any("asked" in record.info for record in records)


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
    paths = [path for path in (entry.video, entry.audio) if path is not None]
    files = [(path.name, path.stat().st_size if path.exists() else None) for path in paths]
    plans = [str(plan) for plan in entry.plans]
    inputs = [files, entry.captions, plans, entry.start_s, entry.end_s, entry.split, options]
    return hashlib.sha256(json.dumps(inputs).encode()).hexdigest()[:12]
