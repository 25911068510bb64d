"""The jobs of ``prismaudio score``: files, each with its plan and its reference."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from prismaudio.errors import MediaError, PlanError, reason
from prismaudio.paths import AUDIO_SUFFIXES, VIDEO_SUFFIXES, expanded
from prismaudio.untrusted import check_regular, load_json, read_small

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

AUTO = "auto"
PLAN_SUFFIXES = (".plan.txt", ".txt", ".json")
"""Suffixes of the plan of ``clip.mp4`` in a folder: ``clip.plan.txt``, or the output of generate, ``clip.json``."""


@dataclass(frozen=True)
class ScoreJob:
    """A file to score.

    Args:
        path: The file.
        plan: The text or the file of its plan, ``"auto"`` for a plan by the installed model; empty for none.
        reference: A file with the reference audio.
        error: Why it cannot be scored; empty if it can.
    """

    path: Path
    plan: str = ""
    reference: Path | None = None
    error: str = ""

    @property
    def plan_file(self) -> Path | None:
        """The plan file; None if there is none."""
        return Path(self.plan) if self.plan and self.plan != AUTO and "<" not in self.plan else None

    def sources(self) -> list[Path]:
        """All files that are read for this job."""
        return [path for path in (self.path, self.plan_file, self.reference) if path is not None]

    def request(self, scorers: Iterable[str]) -> str:
        """A hash of everything that the scores depend on.

        Args:
            scorers: Identities of the scorers, which include releases and weights.
        """
        plan = self.plan_file
        parts = [_stat(self.path), self.plan, plan and _text(plan), self.reference and _stat(self.reference)]
        return hashlib.blake2b(repr([parts, sorted(scorers)]).encode(), digest_size=12).hexdigest()


def collect_score_jobs(files: Sequence[str], plan: str, reference: str) -> list[ScoreJob]:
    """Collect the files of the command line, without duplicates.

    Args:
        files: Audio or video files, and folders of them.
        plan: The text of a plan, its file, a folder of plans named after the files, or ``"auto"``.
        reference: A file with the reference audio, or a folder of references named after the files.

    Raises:
        MediaError: A folder contains no media, or the reference does not exist.
        PlanError: The plan does not exist.
    """
    given = expanded(plan) if plan and plan != AUTO and "<" not in plan else None
    if given is not None and not given.exists():
        raise PlanError(f"no such plan: {given}; expected a file, a folder of plans, text with tags, or auto")
    true = expanded(reference) if reference else None
    if true is not None and not true.exists():
        raise MediaError(f"no such reference: {true}; expected an audio or video file, or a folder of them")
    if true is not None:
        check_regular(true, "an audio or video file")
    paths: dict[Path, Path] = {}
    for text in files:
        path = expanded(text)
        for found in media_files(path) if path.is_dir() else [path]:
            paths.setdefault(found.resolve(), found)
    references: dict[str, Path] = {}
    for file in media_files(true) if true is not None and true.is_dir() else []:
        references.setdefault(file.stem, file)
    return [_job(path, plan, given, true, references) for path in paths.values()]


def media_files(folder: Path) -> list[Path]:
    """The video and audio files of a folder, sorted; an audio file with the same stem as a video is skipped.

    Raises:
        MediaError: There are none.
    """
    found = sorted(file for file in folder.iterdir() if not file.name.startswith(".") and file.is_file())
    videos = {file.stem for file in found if file.suffix.lower() in VIDEO_SUFFIXES}
    kept = [
        file
        for file in found
        if file.suffix.lower() in VIDEO_SUFFIXES or (file.suffix.lower() in AUDIO_SUFFIXES and file.stem not in videos)
    ]
    if not kept:
        raise MediaError(f"no video or audio in {folder}; expected files such as {folder / 'clip.mp4'}")
    return kept


def _job(path: Path, plan: str, given: Path | None, true: Path | None, references: Mapping[str, Path]) -> ScoreJob:
    """The job of a file, with its plan and its reference from the folders, matched by stem."""
    if not path.exists():
        return ScoreJob(path, error=f"no such file: {path}")
    try:
        check_regular(path, "an audio or video file")
    except MediaError as error:
        return ScoreJob(path, error=str(error))
    if given is not None and given.is_dir():
        at = next((at for suffix in PLAN_SUFFIXES if (at := given / f"{path.stem}{suffix}").is_file()), None)
        if at is None:
            return ScoreJob(
                path, error=f"there is no plan for {path} in {given}; expected {path.stem}{PLAN_SUFFIXES[0]}"
            )
        plan = str(at)
    elif given is not None:
        plan = str(given)
    if true is not None and true.is_dir():
        if path.stem not in references:
            return ScoreJob(path, error=f"there is no reference for {path} in {true}; expected a file {path.stem}.wav")
        true = references[path.stem]
    return ScoreJob(path, plan, true)


def read_plan_text(path: Path) -> str:
    """Read the text of a plan from a plan file, or from a JSON file of ``prismaudio generate``.

    Raises:
        PlanError: The file cannot be read.
    """
    text = _text(path)
    if path.suffix.lower() != ".json":
        return "\n".join(line for line in text.splitlines() if not line.lstrip().startswith("#"))
    try:
        return str(load_json(text)["plan_text"])
    except (ValueError, KeyError, TypeError) as error:
        raise PlanError(f"{path} contains no plan; expected a JSON file of prismaudio generate") from error


def _text(path: Path) -> str:
    try:
        return read_small(path).decode("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        why = reason(error) if isinstance(error, OSError) else "it is not UTF-8"
        raise PlanError(f"cannot read the plan {path}: {why}; expected a text file with sections") from error


def _stat(path: Path) -> tuple[str, int, int]:
    """Path, size and modification time of a file, which change with its content."""
    found = path.stat() if path.exists() else None
    return (str(path.resolve()), found.st_size, found.st_mtime_ns) if found else (str(path), 0, 0)
