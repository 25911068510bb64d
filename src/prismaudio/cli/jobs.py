"""The jobs of ``prismaudio generate``: one for each video, from arguments, folders and tables."""

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
"""Suffixes of result files, besides the JSON that describes them."""
WRITABLE = frozenset([*RESULT_SUFFIXES, ".json", ".m4v", ".mov", ".mkv"])
"""Suffixes that are stripped from the ``output`` of a table."""


@dataclass(frozen=True)
class Job:
    """One audio to generate.

    Args:
        video: The video file; None for audio from text.
        output: Path of the files to write, without suffix.
        plan: A plan or the path of its file; empty for none.
        prompt: Text of the semantic section.
        seed: Seed of the noise.
        is_named: Whether a table gives the output name; otherwise it is derived from the video.
    """

    video: Path | None
    output: Path
    plan: str = ""
    prompt: str = ""
    seed: int = 0
    is_named: bool = False

    @property
    def name(self) -> str:
        """Name of the job in messages."""
        return str(self.video) if self.video else self.output.name

    @property
    def plan_file(self) -> Path | None:
        """The plan file; None if the plan is text or missing."""
        return Path(self.plan) if self.plan and "<" not in self.plan and "\n" not in self.plan else None

    def source(self) -> dict[str, Any]:
        """Size and modification time of the video, which identify its content regardless of its path."""
        try:
            found = self.video.stat() if self.video is not None else None
        except OSError:
            found = None
        return {
            "video_size": found.st_size if found else None,
            "video_time": found.st_mtime if found else None,
        }


def collect_jobs(videos: Sequence[str], folder: Path, default: Job) -> list[Job]:
    """Collect the jobs of the command line, each with unique output files.

    Args:
        videos: Video files, folders of them, and ``.csv`` tables.
        folder: Output folder.
        default: Plan, prompt and seed of jobs that do not override them.

    Raises:
        PrismAudioError: A folder contains no videos, or a table cannot be read.
    """
    jobs: list[Job] = []
    tables = []
    for text in videos:
        path = expanded(text)
        if path.is_dir():
            jobs += (replace(default, video=video, output=folder / _stem(video)) for video in _folder(path, folder))
        elif path.suffix.lower() == ".csv":
            jobs += _table(path, folder, default)
            tables.append(path)
        else:
            jobs.append(replace(default, video=path, output=folder / _stem(path)))
    jobs = jobs or [replace(default, video=None, output=folder / "sound")]
    from prismaudio.cli.names import assign_output_paths  # imports torch

    return assign_output_paths(
        jobs, [*tables, *(job.video for job in jobs if job.video), *filter(None, (j.plan_file for j in jobs))]
    )


def _stem(video: Path) -> str:
    """Stem of the output files of a video; ``sound`` where its own stem would be a folder, as for ``...mp4``."""
    return video.stem if video.stem.strip(".") else "sound"


def _folder(path: Path, output: Path) -> list[Path]:
    if output.exists() and path.samefile(output):
        raise PrismAudioError(f"{path} contains the videos; choose another output folder with -o")
    videos = sorted(
        file for file in path.iterdir() if file.suffix.lower() in VIDEO_SUFFIXES and not file.name.startswith(".")
    )
    if not videos:
        raise MediaError(f"no videos in {path}; expected files such as {path / 'clip.mp4'}")
    return videos


def _table(path: Path, folder: Path, default: Job) -> Iterator[Job]:
    """Jobs of the rows of a table; its paths are relative to its folder."""
    for line, row in _rows(path):
        if not (row["seed"] or "0").isdecimal():
            raise PrismAudioError(
                f"{path}, line {line}: the seed {row['seed'][:40]!r} is not a whole number; expected 0 to {MAX_SEED}"
            )
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
            _plan(row["plan"], path.parent) or default.plan,
            row["prompt"] or default.prompt,
            int(row["seed"]) if row["seed"] else default.seed,
            is_named=bool(row["output"]),
        )


def _rows(path: Path) -> Iterator[tuple[int, dict[str, str]]]:
    """Yield line number and cells, of all columns, of each row of a table.

    Raises:
        PrismAudioError: The table cannot be read, or has other columns.
    """
    expected = f"expected CSV with columns {', '.join(COLUMNS)}"
    try:
        # file names may be any bytes, other cells must be UTF-8
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
                f"{path}, line {line}: the row has more cells than the header; put quotes around text with commas"
            )
        row = {name: (cells.get(name) or "").strip() for name in COLUMNS}
        _check_text(row, f"{path}, line {line}")
        yield line, row


def _check_text(row: dict[str, str], where: str) -> None:
    for name, cell in row.items():
        if "\0" in cell:
            raise PrismAudioError(f"{where}: the {name} contains a NUL byte; remove it")
        is_read = name in ("prompt", "seed") or (name == "plan" and "<" in cell)
        if is_read and not is_text(cell):
            raise PrismAudioError(f"{where}: the {name} is not UTF-8; save the table as CSV in UTF-8")


def _inside(folder: Path, cell: str, where: str) -> Path:
    """The path, without suffix, of an ``output`` cell.

    Raises:
        PrismAudioError: The path, with links resolved, is outside the output folder, or it is not a file name.
    """
    name = Path(cell)
    name = name.with_suffix("") if name.suffix.lower() in WRITABLE else name
    if not name.name.strip("."):
        raise PrismAudioError(
            f"{where}: the output {cell[:80]!r} is not a file name; expected one such as takes/door_1"
        )
    base = Path(os.path.realpath(folder))
    place = Path(os.path.realpath((folder / name).parent)) / name.name
    if not place.is_relative_to(base):
        raise PrismAudioError(
            f"{where}: the output {cell[:80]!r} is outside of {folder}; expected a path in the folder of -o"
        )
    return folder / place.relative_to(base)


def _plan(text: str, folder: Path) -> str:
    """The text of a plan unchanged, or the path of its file."""
    return text if not text or "<" in text else str(folder / expanded(text))
