"""What ``prismaudio score`` is asked to score: files, each with its plan and its reference."""

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
"""What the plan of ``clip.mp4`` may be called in a folder: ``clip.plan.txt``, or what generate wrote, ``clip.json``."""


@dataclass(frozen=True)
class ScoreJob:
    """A file to score.

    Args:
        path: The file.
        plan: The text or the file of its plan, ``"auto"`` to have it planned; empty for none.
        reference: A file with the true sound.
        error: Why it cannot be scored; empty if it can.
    """

    path: Path
    plan: str = ""
    reference: Path | None = None
    error: str = ""

    @property
    def plan_file(self) -> Path | None:
        """The file of its plan; None if it has none."""
        return Path(self.plan) if self.plan and self.plan != AUTO and "<" not in self.plan else None

    def sources(self) -> list[Path]:
        """The files that are read."""
        return [path for path in (self.path, self.plan_file, self.reference) if path is not None]

    def request(self, scorers: Iterable[str]) -> str:
        """A hash of everything that its scores depend on.

        Args:
            scorers: What scores, with releases and weights.
        """
        plan = self.plan_file
        parts = [_stat(self.path), self.plan, plan and _text(plan), self.reference and _stat(self.reference)]
        return hashlib.blake2b(repr([parts, sorted(scorers)]).encode(), digest_size=12).hexdigest()


def collect_score_jobs(files: Sequence[str], plan: str, reference: str) -> list[ScoreJob]:
    """The files of the command line, each once.

    Args:
        files: Files of sound or video, and folders of them.
        plan: The text of a plan, its file, a folder of plans with the names of the files, or ``"auto"``.
        reference: A file with the true sound, or a folder of files with the same names.

    Raises:
        MediaError: A folder holds nothing to score, or there is no such reference.
        PlanError: There is no such plan.
    """
    given = expanded(plan) if plan and plan != AUTO and "<" not in plan else None
    if given is not None and not given.exists():
        raise PlanError(f"no such plan: {given}; expected a file, a folder of plans, a text with tags, or auto")
    true = expanded(reference) if reference else None
    if true is not None and not true.exists():
        raise MediaError(f"no such reference: {true}; expected a file of sound or video, or a folder of them")
    if true is not None:
        check_regular(true, "a file of sound or video")
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
    """The files of a folder that hold video or sound, sorted; a sound beside a video of its name is left out.

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
        raise MediaError(f"no video or sound in {folder}; expected files such as {folder / 'clip.mp4'}")
    return kept


def _job(path: Path, plan: str, given: Path | None, true: Path | None, references: Mapping[str, Path]) -> ScoreJob:
    """The job of a file, with what the folders have for it: references by their names without the ending."""
    if not path.exists():
        return ScoreJob(path, error=f"no such file: {path}")
    try:
        check_regular(path, "a file of sound or video")
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
    """The text of a plan in a file, or in the JSON file that ``prismaudio generate`` writes.

    Raises:
        PlanError: It cannot be read.
    """
    text = _text(path)
    if path.suffix.lower() != ".json":
        return "\n".join(line for line in text.splitlines() if not line.lstrip().startswith("#"))
    try:
        return str(load_json(text)["plan_text"])
    except (ValueError, KeyError, TypeError) as error:
        raise PlanError(f"{path} holds no plan; expected a file that prismaudio generate wrote") from error


def _text(path: Path) -> str:
    try:
        return read_small(path).decode("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        why = reason(error) if isinstance(error, OSError) else "it is not UTF-8"
        raise PlanError(f"cannot read the plan {path}: {why}; expected a text file with sections") from error


def _stat(path: Path) -> tuple[str, int, int]:
    """What tells a file from another, and from itself before it was changed."""
    found = path.stat() if path.exists() else None
    return (str(path.resolve()), found.st_size, found.st_mtime_ns) if found else (str(path), 0, 0)
