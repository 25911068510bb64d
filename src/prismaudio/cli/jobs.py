"""What ``prismaudio generate`` is asked to do: one job for each video, from arguments, folders and tables."""

from __future__ import annotations

import csv
import io
import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prismaudio.cli.arguments import MAX_SEED
from prismaudio.errors import MediaError, PrismAudioError, reason
from prismaudio.paths import VIDEO_SUFFIXES, expanded
from prismaudio.untrusted import is_text, read_small

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

COLUMNS = ("video", "plan", "prompt", "seed", "output")
RESULT_SUFFIXES = (".mp4", ".wav", ".png")
"""Files of a result, besides the JSON that describes it."""
WRITABLE = frozenset([*RESULT_SUFFIXES, ".json", ".m4v", ".mov", ".mkv"])
"""Endings that a table's ``output`` may have and that are no part of the name."""


@dataclass(frozen=True)
class Job:
    """One sound to make.

    Args:
        video: The video file; None for sound from text.
        output: Path of the files to write, without suffix.
        plan: A plan or the name of its file; empty for none.
        prompt: What is to be heard.
        seed: Seed of the noise.
        is_named: Whether a table says what the files are called; otherwise it follows from the video.
    """

    video: Path | None
    output: Path
    plan: str = ""
    prompt: str = ""
    seed: int = 0
    is_named: bool = False

    @property
    def name(self) -> str:
        """What to call it in messages."""
        return str(self.video) if self.video else self.output.name

    @property
    def plan_file(self) -> Path | None:
        """The file of its plan; None if the plan is a text, or there is none."""
        return Path(self.plan) if self.plan and "<" not in self.plan and "\n" not in self.plan else None

    def source(self) -> dict[str, Any]:
        """What tells its video from another, and from itself before it was changed, wherever it is."""
        try:
            found = self.video.stat() if self.video is not None else None
        except OSError:
            found = None
        return {
            "video_size": found.st_size if found else None,
            "video_time": found.st_mtime if found else None,
        }


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
    tables = []
    for text in videos:
        path = expanded(text)
        if path.is_dir():
            jobs += (replace(usual, video=video, output=folder / _stem(video)) for video in _folder(path, folder))
        elif path.suffix.lower() == ".csv":
            jobs += _table(path, folder, usual)
            tables.append(path)
        else:
            jobs.append(replace(usual, video=path, output=folder / _stem(path)))
    jobs = jobs or [replace(usual, video=None, output=folder / "sound")]
    from prismaudio.cli.names import apart  # imports torch

    return apart(jobs, [*tables, *(job.video for job in jobs if job.video), *filter(None, (j.plan_file for j in jobs))])


def _stem(video: Path) -> str:
    """What the files of a video are called: no folder, as the stem of ``...mp4`` would be."""
    return video.stem if video.stem.strip(".") else "sound"


def _folder(path: Path, output: Path) -> list[Path]:
    if output.exists() and path.samefile(output):
        raise PrismAudioError(f"{path} holds the videos, so the results must go elsewhere; name another folder with -o")
    videos = sorted(
        file for file in path.iterdir() if file.suffix.lower() in VIDEO_SUFFIXES and not file.name.startswith(".")
    )
    if not videos:
        raise MediaError(f"no videos in {path}; expected files such as {path / 'clip.mp4'}")
    return videos


def _table(path: Path, folder: Path, usual: Job) -> Iterator[Job]:
    """Jobs of the rows of a table; its paths are relative to its folder."""
    for line, row in _rows(path):
        if not (row["seed"] or "0").isdecimal():
            raise PrismAudioError(f"{path}, line {line}: the seed {row['seed'][:40]!r} is no whole number")
        if len(row["seed"]) > len(str(MAX_SEED)) or int(row["seed"] or 0) > MAX_SEED:
            raise PrismAudioError(
                f"{path}, line {line}: the seed {row['seed'][:40]} is out of range; expected 0 to {MAX_SEED}"
            )
        video = path.parent / expanded(row["video"]) if row["video"] else None
        output = folder / (_stem(video) if video else f"sound{line - 1}")
        if row["output"]:
            output = _inside(folder, row["output"], f"{path}, line {line}")
        yield Job(
            video,
            output,
            _plan(row["plan"], path.parent) or usual.plan,
            row["prompt"] or usual.prompt,
            int(row["seed"]) if row["seed"] else usual.seed,
            is_named=bool(row["output"]),
        )


def _rows(path: Path) -> Iterator[tuple[int, dict[str, str]]]:
    """The rows of a table with their lines, and all columns.

    Raises:
        PrismAudioError: It cannot be read, or is no such table.
    """
    expected = f"expected CSV with columns {', '.join(COLUMNS)}"
    try:
        # names of files need not be UTF-8, texts must be
        text = read_small(path).decode("utf-8-sig", "surrogateescape")
        reader = csv.DictReader(io.StringIO(text, newline=""), strict=True)
        rows = [(reader.line_num, cells) for cells in reader]
    except FileNotFoundError as error:
        raise MediaError(f"no such file: {path}") from error
    except (OSError, csv.Error) as error:
        raise PrismAudioError(f"cannot read the table {path}: {reason(error)}; {expected}") from error
    if not rows:
        raise PrismAudioError(f"the table {path} has no rows; expected a header and one line for each video")
    names = list(reader.fieldnames or ())
    unknown = [name for name in names if name not in COLUMNS]
    if unknown or "video" not in names:
        wrong = f"unknown column {unknown[0][:80]!r}" if unknown else "no column 'video'"
        raise PrismAudioError(f"the table {path} has {wrong}; expected {', '.join(COLUMNS)}")
    for line, cells in rows:
        if None in cells:
            raise PrismAudioError(
                f"{path}, line {line}: more cells than the header has columns; put quotes around a text with commas"
            )
        row = {name: (cells.get(name) or "").strip() for name in COLUMNS}
        _check_text(row, f"{path}, line {line}")
        yield line, row


def _check_text(row: dict[str, str], where: str) -> None:
    for name, cell in row.items():
        if "\0" in cell:
            raise PrismAudioError(f"{where}: the {name} holds a NUL byte, which no name or text has")
        is_read = name in ("prompt", "seed") or (name == "plan" and "<" in cell)
        if is_read and not is_text(cell):
            raise PrismAudioError(f"{where}: the {name} is not UTF-8; save the table as CSV in UTF-8")


def _inside(folder: Path, cell: str, where: str) -> Path:
    """The path of files, without suffix, that an ``output`` cell names.

    Raises:
        PrismAudioError: It is not below the folder of results, also not by way of a link, or it is no name.
    """
    name = Path(cell)
    name = name.with_suffix("") if name.suffix.lower() in WRITABLE else name
    if not name.name.strip("."):
        raise PrismAudioError(f"{where}: the output {cell[:80]!r} is no name; expected one such as takes/door_1")
    base = Path(os.path.realpath(folder))
    place = Path(os.path.realpath((folder / name).parent)) / name.name
    if not place.is_relative_to(base):
        raise PrismAudioError(
            f"{where}: the output {cell[:80]!r} is outside of {folder}; expected a name below the folder of -o"
        )
    return folder / place.relative_to(base)


def _plan(text: str, folder: Path) -> str:
    """A plan's text as it is, or the path of its file."""
    return text if not text or "<" in text else str(folder / expanded(text))
