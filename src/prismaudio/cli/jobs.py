"""What ``prismaudio generate`` is asked to do: one job for each video, from arguments, folders and tables."""

from __future__ import annotations

import csv
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from prismaudio.errors import MediaError, PrismAudioError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

SUFFIXES = frozenset(
    [
        ".3gp",
        ".avi",
        ".flv",
        ".gif",
        ".m2ts",
        ".m4v",
        ".mkv",
        ".mov",
        ".mp4",
        ".mpeg",
        ".mpg",
        ".mts",
        ".mxf",
        ".ogv",
        ".ts",
        ".vob",
        ".webm",
        ".wmv",
    ]
)
"""Files of a folder that are taken for videos."""
COLUMNS = ("video", "plan", "prompt", "seed", "output")


@dataclass(frozen=True)
class Job:
    """One sound to make.

    Args:
        video: The video file; None for sound from text.
        output: Path of the files to write, without suffix.
        plan: A plan or the name of its file; empty for none.
        prompt: What is to be heard.
        seed: Seed of the noise.
    """

    video: Path | None
    output: Path
    plan: str = ""
    prompt: str = ""
    seed: int = 0

    @property
    def name(self) -> str:
        """What to call it in messages."""
        return str(self.video) if self.video else self.output.name


def collect(videos: Sequence[str], folder: Path, usual: Job) -> list[Job]:
    """Jobs of the arguments of the command line, each with files of its own.

    Args:
        videos: Video files, folders of them, and ``.csv`` tables.
        folder: Where the results go.
        usual: Plan, prompt and seed of jobs that do not say otherwise.

    Raises:
        PrismAudioError: A folder holds no videos, or a table cannot be read.
    """
    jobs: list[Job] = []
    for text in videos:
        path = Path(text).expanduser()
        if path.is_dir():
            jobs += (replace(usual, video=video, output=folder / video.stem) for video in _folder(path, folder))
        elif path.suffix.lower() == ".csv":
            jobs += _table(path, folder, usual)
        else:
            jobs.append(replace(usual, video=path, output=folder / path.stem))
    return _apart(jobs or [replace(usual, video=None, output=folder / "sound")])


def _folder(path: Path, output: Path) -> list[Path]:
    if output.exists() and path.samefile(output):
        raise PrismAudioError(f"{path} holds the videos, so the results must go elsewhere; name another folder with -o")
    videos = sorted(
        file for file in path.iterdir() if file.suffix.lower() in SUFFIXES and not file.name.startswith(".")
    )
    if not videos:
        raise MediaError(f"no videos in {path}; expected files such as {path / 'clip.mp4'}")
    return videos


def _table(path: Path, folder: Path, usual: Job) -> Iterator[Job]:
    """Jobs of the rows of a table; its paths are relative to its folder."""
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            rows = list(csv.DictReader(file, strict=True))
    except FileNotFoundError as error:
        raise MediaError(f"no such file: {path}") from error
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise PrismAudioError(f"cannot read the table {path}: {error}; expected CSV with columns {COLUMNS}") from error
    if not rows:
        raise PrismAudioError(f"the table {path} has no rows; expected a header and one line for each video")
    unknown = [str(name) for name in rows[0] if name not in COLUMNS]
    if unknown or "video" not in rows[0]:
        wrong = f"unknown column {unknown[0]!r}" if unknown else "no column 'video'"
        raise PrismAudioError(f"the table {path} has {wrong}; expected {', '.join(COLUMNS)}")
    for line, cells in enumerate(rows, 2):
        row = {name: (cells.get(name) or "").strip() for name in COLUMNS}
        if not (row["seed"] or "0").isdecimal():
            raise PrismAudioError(f"{path}, line {line}: the seed {row['seed']!r} is no whole number")
        video = path.parent / Path(row["video"]).expanduser() if row["video"] else None
        stem = (
            Path(row["output"]).with_suffix("") if row["output"] else Path(video.stem if video else f"sound{line - 1}")
        )
        yield Job(
            video,
            folder / stem,
            _plan(row["plan"], path.parent) or usual.plan,
            row["prompt"] or usual.prompt,
            int(row["seed"]) if row["seed"] else usual.seed,
        )


def _plan(text: str, folder: Path) -> str:
    """A plan's text as it is, or the path of its file."""
    return text if not text or "<" in text else str(folder / Path(text).expanduser())


def _apart(jobs: Iterable[Job]) -> list[Job]:
    """Jobs that write neither over each other's files nor over a source."""
    taken: set[Path] = set()
    out = []
    for job in jobs:
        stem = job.output
        if job.video is not None and stem.with_name(stem.name + job.video.suffix).resolve() == job.video.resolve():
            stem = stem.with_name(f"{stem.name}-sound")
        name, count = stem, 1
        while name in taken:
            count += 1
            name = stem.with_name(f"{stem.name}-{count}")
        taken.add(name)
        out.append(replace(job, output=name))
    return out
