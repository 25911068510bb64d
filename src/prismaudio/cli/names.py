"""Names of result files: unique for each job, and different from all sources and other results."""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from prismaudio.cli.jobs import RESULT_SUFFIXES
from prismaudio.media import ResultFiles
from prismaudio.media.files import MAX_NAME_BYTES, file_id, portable, short_name

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from prismaudio.cli.jobs import Job

_MAX_BYTES = MAX_NAME_BYTES - len(".json")


def result_files(output: Path) -> ResultFiles:
    """The result files of one job of ``prismaudio generate``."""
    return ResultFiles(output, RESULT_SUFFIXES, output_names)


def output_names(made: Mapping[str, Any]) -> list[str]:
    """Names of the files that a result's JSON lists; empty if ``prismaudio generate`` did not write the JSON."""
    outputs = made.get("outputs")
    if not isinstance(made.get("request"), dict) or not isinstance(outputs, list):
        return []
    return [name for name in outputs if isinstance(name, str)]


def assign_output_paths(jobs: Iterable[Job], sources: Iterable[Path]) -> list[Job]:
    """Rename outputs that would overwrite a source, another job's output or the results of another video.

    Args:
        jobs: The jobs, with names derived from their videos or given in a table.
        sources: All files that are read.
    """
    read = {file_id(source) for source in sources} - {None}
    taken: set[str] = set()
    out = []
    for job in jobs:
        stem = _fitting(job.output, "")
        if _is_read(stem, job, read):
            stem = _fitting(stem, "-sound")
        name, count = stem, 1
        while _key(name) in taken or _is_read(name, job, read) or _is_of_another_video(name, job):
            count += 1
            name = _fitting(stem, f"-{count}")
        taken.add(_key(name))
        out.append(replace(job, output=name))
    return out


def _fitting(stem: Path, ending: str) -> Path:
    """A path with an ending, shortened so that the name with any suffix fits the limit of file systems."""
    return stem.with_name(short_name(stem.name, _MAX_BYTES - len(ending)) + ending)


def _key(stem: Path) -> str:
    """Normalised path, equal for paths that some file systems treat as the same."""
    return unicodedata.normalize("NFC", os.path.realpath(stem.parent) + os.sep + stem.name).casefold()


def _is_read(stem: Path, job: Job, read: set[tuple[int, int] | None]) -> bool:
    """Whether this name with a result suffix, or with the video's own suffix, is a source file."""
    suffixes = {*RESULT_SUFFIXES, ".json", job.video.suffix if job.video else ".wav"}
    return any(file_id(stem.with_name(stem.name + suffix)) in read for suffix in suffixes)


def _is_of_another_video(stem: Path, job: Job) -> bool:
    """Whether a result of this name exists for a video with another path and other content."""
    made = None if job.is_named else result_files(stem).read()
    if made is None:
        return False
    place = None if job.video is None else portable(job.video, stem.parent)
    request = made["request"]
    same_file = all(request.get(key) == value for key, value in job.source().items())
    return request.get("video") != place and not same_file
