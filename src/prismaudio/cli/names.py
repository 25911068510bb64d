"""What the files of results are called: every job has names of its own, which no source and no other result has."""

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


def files_of(output: Path) -> ResultFiles:
    """The files of a result of ``prismaudio generate``."""
    return ResultFiles(output, RESULT_SUFFIXES, outputs_of)


def outputs_of(made: Mapping[str, Any]) -> list[str]:
    """Names of the files that the JSON of a result describes; none if ``prismaudio generate`` did not write it."""
    outputs = made.get("outputs")
    if not isinstance(made.get("request"), dict) or not isinstance(outputs, list):
        return []
    return [name for name in outputs if isinstance(name, str)]


def apart(jobs: Iterable[Job], sources: Iterable[Path]) -> list[Job]:
    """Jobs whose files are neither those of another job, nor a source, nor the results of another video.

    Args:
        jobs: The jobs, with the names that follow from their videos or are given.
        sources: All files that are read for them.
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
    """A name with an ending that is no longer than file systems allow, whatever suffix it gets."""
    return stem.with_name(short_name(stem.name, _MAX_BYTES - len(ending)) + ending)


def _key(stem: Path) -> str:
    """What two names share that some file systems do not tell apart."""
    return unicodedata.normalize("NFC", os.path.realpath(stem.parent) + os.sep + stem.name).casefold()


def _is_read(stem: Path, job: Job, read: set[tuple[int, int] | None]) -> bool:
    """Whether a file with this name and a suffix of results, or the video's own suffix, is a source."""
    suffixes = {*RESULT_SUFFIXES, ".json", job.video.suffix if job.video else ".wav"}
    return any(file_id(stem.with_name(stem.name + suffix)) in read for suffix in suffixes)


def _is_of_another_video(stem: Path, job: Job) -> bool:
    """Whether there is a result of a video that is neither at the place of the job's video, nor the same file moved."""
    made = None if job.is_named else files_of(stem).read()
    if made is None:
        return False
    place = None if job.video is None else portable(job.video, stem.parent)
    request = made["request"]
    same_file = all(request.get(key) == value for key, value in job.source().items())
    return request.get("video") != place and not same_file
