"""The jobs of ``prismaudio score``: files, each with its plan and its reference."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prismaudio.data import manifest
from prismaudio.errors import DataError, MediaError, PlanError, reason
from prismaudio.paths import AUDIO_SUFFIXES, VIDEO_SUFFIXES, expanded
from prismaudio.plan import Plan
from prismaudio.registry import discover
from prismaudio.untrusted import check_regular, load_json, read_small

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

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
        video: The video whose frames are used for an audio file; by default those of the file or its reference.
        columns: Its other columns in a manifest.
    """

    path: Path
    plan: str = ""
    reference: Path | None = None
    error: str = ""
    video: Path | None = None
    columns: Mapping[str, Any] = field(default_factory=dict, compare=False)

    @property
    def plan_file(self) -> Path | None:
        """The plan file; None if there is none."""
        return Path(self.plan) if self.plan and self.plan != AUTO and "<" not in self.plan else None

    def sources(self) -> list[Path]:
        """All files that are read for this job."""
        return [path for path in (self.path, self.plan_file, self.reference, self.video) if path is not None]

    def request(self, scorers: Iterable[str]) -> str:
        """A hash of everything that the scores depend on.

        Args:
            scorers: Identities of the scorers, which include releases and weights.
        """
        plan = self.plan_file
        parts = [_stat(self.path), self.plan, plan and _text(plan), self.reference and _stat(self.reference)]
        parts += [_stat(self.video)] if self.video is not None else []
        return hashlib.blake2b(repr([parts, sorted(scorers)]).encode(), digest_size=12).hexdigest()


def collect_score_jobs(files: Sequence[str], plan: str, reference: str) -> list[ScoreJob]:
    """Collect the files of the command line, without duplicates.

    Args:
        files: Audio or video files, folders of them, and manifests.
        plan: The text of a plan, its file, a folder of plans named after the files, or ``"auto"``.
        reference: A file with the reference audio, or a folder of references named after the files.

    Raises:
        MediaError: A folder contains no media, or the reference does not exist.
        PlanError: The plan does not exist.
        DataError: A manifest cannot be read, or two of its rows are of the same file.
    """
    targets = _Targets(plan, reference)
    jobs: dict[Path, ScoreJob] = {}
    for text in files:
        path = expanded(text)
        is_manifest = path.suffix.lower() in manifest.SUFFIXES and not path.is_dir()
        for job in _rows(path) if is_manifest else map(ScoreJob, media_files(path) if path.is_dir() else [path]):
            real = job.path.resolve()
            if is_manifest and real in jobs:
                raise DataError(f"{path} lists {job.path}, which is scored already; expected each file once")
            if real not in jobs:
                jobs[real] = targets.complete(job)
    return [*jobs.values()]


def _rows(path: Path) -> Iterator[ScoreJob]:
    """The job of each row of a manifest, with what the row states."""
    sections = discover().sections()
    for line, cells in manifest.read_rows(path, ["reference", *manifest.COLUMNS, *sections]):
        where = f"{path}, line {line}"
        manifest.check_whole(where, cells, "score")
        files = {
            name: manifest.path_cell(where, path.parent, name, cells.get(name))
            for name in ("audio", "video", "reference")
        }
        scored = files["audio"] or files["video"]
        if scored is None:
            raise DataError(f"{where}: names no file to score; expected one in the column audio or video")
        plan = manifest.plan_cell(where, path.parent, cells, sections)
        if not plan and (captions := manifest.text_cells(where, cells.get("caption"))):
            plan = str(Plan({"semantic": captions[0]}))
        columns = manifest.other_columns(cells, (*files, "plan", "features", "latents", *sections))
        video = files["video"] if scored != files["video"] else None
        yield ScoreJob(scored, plan, files["reference"], video=video, columns=columns)


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


class _Targets:
    """The plan and the reference of the command line, each for all files or in a folder.

    Args:
        plan: See :func:`collect_score_jobs`.
        reference: See :func:`collect_score_jobs`.
    """

    def __init__(self, plan: str, reference: str) -> None:
        self.plan = plan
        self.plan_path = expanded(plan) if plan and plan != AUTO and "<" not in plan else None
        if self.plan_path is not None and not self.plan_path.exists():
            raise PlanError(
                f"no such plan: {self.plan_path}; expected a file, a folder of plans, text with tags, or auto"
            )
        self.reference = expanded(reference) if reference else None
        self.references: dict[str, Path] = {}
        if self.reference is None:
            return
        if not self.reference.exists():
            raise MediaError(
                f"no such reference: {self.reference}; expected an audio or video file, or a folder of them"
            )
        check_regular(self.reference, "an audio or video file")
        for file in media_files(self.reference) if self.reference.is_dir() else []:
            self.references.setdefault(file.stem, file)

    def complete(self, job: ScoreJob) -> ScoreJob:
        """The job with a plan and a reference where it has none, or with the reason why it cannot be scored."""
        try:
            for file in (job.path, job.video, job.reference):
                if file is not None and not file.exists():
                    raise MediaError(f"no such file: {file}")
                if file is not None:
                    check_regular(file, "an audio or video file")
            return replace(
                job,
                plan=job.plan or self._plan_of(job.path),
                reference=job.reference or self._reference_of(job.path),
            )
        except (MediaError, PlanError) as error:
            return replace(job, error=str(error))

    def _plan_of(self, path: Path) -> str:
        if self.plan_path is None:
            return self.plan
        if not self.plan_path.is_dir():
            return str(self.plan_path)
        found = (self.plan_path / f"{path.stem}{suffix}" for suffix in PLAN_SUFFIXES)
        file = next((file for file in found if file.is_file()), None)
        if file is None:
            raise PlanError(f"there is no plan for {path} in {self.plan_path}; expected {path.stem}{PLAN_SUFFIXES[0]}")
        return str(file)

    def _reference_of(self, path: Path) -> Path | None:
        if self.reference is None or not self.reference.is_dir():
            return self.reference
        if path.stem not in self.references:
            raise MediaError(f"there is no reference for {path} in {self.reference}; expected a file {path.stem}.wav")
        return self.references[path.stem]


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
