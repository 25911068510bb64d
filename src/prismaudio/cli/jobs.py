"""The jobs of ``prismaudio generate``: one for each video, from arguments, folders and tables."""

from __future__ import annotations

import os
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prismaudio.cli.arguments import MAX_SEED
from prismaudio.data import manifest
from prismaudio.errors import DataError, MediaError, PrismAudioError
from prismaudio.paths import VIDEO_SUFFIXES, expanded
from prismaudio.registry import discover

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

COLUMNS = ("prompt", "seed", "output", "reference")
"""Columns of a manifest that are of this command, besides those that every manifest may have."""
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
        reference: A file with the true audio, from a table.
        columns: Other columns of a table.
    """

    video: Path | None
    output: Path
    plan: str = ""
    prompt: str = ""
    seed: int = 0
    is_named: bool = False
    reference: Path | None = None
    columns: Mapping[str, Any] = field(default_factory=dict, compare=False)

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
        videos: Video files, folders of them, and manifests.
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
        elif path.suffix.lower() in manifest.SUFFIXES:
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
    """Jobs of the rows of a manifest; its paths are relative to its folder."""
    sections = discover().sections()
    rows = manifest.read_rows(path, [*COLUMNS, *manifest.COLUMNS, *sections])
    if not any("video" in cells for _, cells in rows):
        raise DataError(f"the manifest {path} has no column 'video'; expected one, which may have empty cells")
    for line, cells in rows:
        where = f"{path}, line {line}"
        manifest.check_whole(where, cells, "generate")
        files = {
            name: manifest.path_cell(where, path.parent, name, cells.get(name))
            for name in ("video", "audio", "reference", "output")
        }
        texts = {name: manifest.text_cell(where, name, cells.get(name)) for name in ("id", "prompt", "seed")}
        video = files["video"]
        output = folder / (_stem(video) if video else f"sound{line - 1}")
        if named := str(cells.get("output") or texts["id"]):
            output = _inside(folder, named, where)
        plan = manifest.plan_cell(where, path.parent, cells, sections)
        captions = () if plan else manifest.text_cells(where, cells.get("caption"))
        read = ("video", "audio", "reference", "plan", "prompt", "seed", "output", "features", "latents", *sections)
        yield Job(
            video,
            output,
            plan or default.plan,
            texts["prompt"] or next(iter(captions), default.prompt),
            _seed(texts["seed"], where) if texts["seed"] else default.seed,
            is_named=bool(named),
            reference=files["reference"] or files["audio"],
            columns=manifest.other_columns(cells, read),
        )


def _seed(text: str, where: str) -> int:
    if not text.isdecimal():
        raise DataError(f"{where}: the seed {text[:40]!r} is not a whole number; expected 0 to {MAX_SEED}")
    if len(text) > len(str(MAX_SEED)) or int(text) > MAX_SEED:
        raise DataError(f"{where}: the seed {text[:40]} is out of range; expected 0 to {MAX_SEED}")
    return int(text)


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
