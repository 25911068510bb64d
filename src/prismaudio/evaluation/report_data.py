"""What the script of the report reads: systems, scorers, groups, clips, scores, and audio to listen to."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prismaudio.data.manifest import COLUMNS
from prismaudio.evaluation.comparison import REFERENCE_WIDTH, groups_of
from prismaudio.evaluation.reading import read_plan
from prismaudio.evaluation.sounds import IMAGE_SUFFIX, Sounds
from prismaudio.pages import relative_url
from prismaudio.plan import CORE
from prismaudio.untrusted import load_json, read_small

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from prismaudio.data.manifest import ManifestEntry
    from prismaudio.evaluation.comparison import Cell, Comparison
    from prismaudio.evaluation.reading import Evaluation
    from prismaudio.plan.story import Story

MAX_CLASSES = 500
"""Most values of a column by which clips are divided."""
REFERENCE = "reference"


def report_data(found: Evaluation, place: Path, sounds: Sounds | None) -> dict[str, Any]:
    """What the script of the page reads, as JSON types.

    Args:
        found: The evaluation.
        place: The file of the page, from which media are linked.
        sounds: Draws spectrograms; None for a page without.
    """
    comparison = found.comparison
    systems = list(comparison.systems)
    names = [name for name in ordered(comparison) if _is_measured(comparison, name)]
    scores = found.scores
    widths = [of_system.get(REFERENCE_WIDTH, {}) for of_system in scores.values()]
    groups = groups_of(found.clips, comparison.columns, widths)
    known = [group for group in comparison.cells if group in groups]
    columns = _class_columns(found.clips)
    return {
        "title": found.title,
        "baseline": systems.index(comparison.baseline) if comparison.baseline in systems else 0,
        "systems": [
            {
                "name": name,
                "model": str(facts.get("model") or ""),
                "clips": sum(clip.id in found.audio[name] for clip in found.clips),
                "is_truth": name in found.truths,
            }
            for name, facts in comparison.systems.items()
        ],
        "scorers": [
            {
                "name": name,
                "dimension": str(comparison.scorers[name]["dimension"] or "other"),
                "range": comparison.scorers[name]["range"],
                "higher": comparison.scorers[name]["higher_is_better"],
                "source": str(comparison.scorers[name]["source"]),
            }
            for name in names
        ],
        "groups": [
            {
                "name": group,
                "cells": [
                    [_plain_cell(comparison.cells[group].get(name, {}).get(system)) for system in systems]
                    for name in names
                ],
            }
            for group in comparison.cells
        ],
        "columns": [
            {"name": name, "values": values, "grouped": name in comparison.columns} for name, values in columns.items()
        ],
        "clips": [
            {
                "id": clip.id,
                **({"video": relative_url(clip.video, place.parent)} if clip.video is not None else {}),
                **({"lost": True} if clip.video is not None and not clip.video.is_file() else {}),
                **({"plan": dict(clip.plans[0])} if clip.plans else {}),
                **({"caption": clip.captions[0]} if clip.captions else {}),
                "groups": [
                    number
                    for number, group in enumerate(comparison.cells)
                    if group in known and clip.id in groups[group]
                ],
                "classes": [values.index(_class(clip, name)) for name, values in columns.items()],
                **_events(clip.plans[0].story if clip.plans else None),
            }
            for clip in found.clips
        ],
        "values": [
            [[_rounded(scores[system].get(name, {}).get(clip.id)) for clip in found.clips] for name in names]
            for system in systems
        ],
        "sources": [_source_data(found, source, place, sounds) for source in sources_of(found)],
        "image": IMAGE_SUFFIX,
    }


def ordered(comparison: Comparison) -> list[str]:
    """Names of the scorers by dimension, those of plans first."""
    order = {name: number for number, name in enumerate(CORE)}
    dimensions = [str(about["dimension"] or "") for about in comparison.scorers.values()]
    for name in sorted({name for name in dimensions if name}):
        order.setdefault(name, len(order))
    names = list(comparison.scorers)
    return sorted(names, key=lambda name: order.get(str(comparison.scorers[name]["dimension"] or ""), len(order)))


def _is_measured(comparison: Comparison, name: str) -> bool:
    return any(cell.value is not None for rows in comparison.cells.values() for cell in rows.get(name, {}).values())


def _plain_cell(cell: Cell | None) -> list[float | None] | None:
    """Value, clips, interval, difference and its interval; None if there is no value."""
    if cell is None or cell.value is None:
        return None
    found = [cell.value, cell.n, cell.low, cell.high]
    if cell.difference is not None:
        found += [cell.difference.mean, cell.difference.low, cell.difference.high]
    return [_rounded(value) for value in found]


def _rounded(value: float | None) -> float | None:
    """Five significant digits, for the size of the page.

    Example:
        >>> _rounded(0.123456789), _rounded(3.0), _rounded(math.nan)
        (0.12346, 3, None)
    """
    if value is None or not math.isfinite(value):
        return None
    short = float(f"{value:.5g}")
    return int(short) if short.is_integer() and abs(short) < 1e6 else short


def _class_columns(clips: Sequence[ManifestEntry]) -> dict[str, list[str]]:
    """Other columns that divide the clips, with their values."""
    names = dict.fromkeys(name for clip in clips for name in clip.columns if name not in COLUMNS)
    found = {name: sorted({_class(clip, name) for clip in clips}) for name in names}
    return {name: values for name, values in found.items() if 1 < len(values) <= min(MAX_CLASSES, len(clips) - 1)}


def _class(clip: ManifestEntry, name: str) -> str:
    value = clip.columns.get(name)
    return "none" if value in (None, "") else str(value)


def _events(story: Story | None) -> dict[str, Any]:
    """The events that a plan states: what, times, end and directions."""
    sources = [] if story is None else [source for source in story.sources if source.onsets_s]
    made = [[one.what, list(one.onsets_s), one.end_s, one.azimuth_deg and list(one.azimuth_deg)] for one in sources]
    return {"events": made} if made else {}


@dataclass(frozen=True)
class Source:
    """Audio to listen to: that of a system, or the true one.

    Args:
        name: Its name on the page.
        system: Number of the system; None for the true audio.
        folder: Folder of its images, within that of all.
        files: Its audio by id of the clip.
    """

    name: str
    system: int | None
    folder: str
    files: Mapping[str, Path]


def sources_of(found: Evaluation) -> list[Source]:
    """The audio of each system, and the true audio where no system has it."""
    made = [Source(name, number, f"systems/{name}", files) for number, (name, files) in enumerate(found.audio.items())]
    heard = {path for files in found.audio.values() for path in files.values()}
    references = {clip: path for clip, path in found.references.items() if path not in heard}
    return [*made, *([Source(REFERENCE, None, REFERENCE, references)] if references else [])]


def _source_data(found: Evaluation, source: Source, place: Path, sounds: Sounds | None) -> dict[str, Any]:
    """What the script reads of the audio of a system, or of the true audio."""
    root = _root(source.files)
    clips = []
    for clip in found.clips:
        facts = _source_clip(source, clip.id, root, sounds)
        if facts is not None and source.system is not None:
            facts |= _own_plan(source.files[clip.id], found.sections)
        clips.append(facts)
    return {
        "name": source.name,
        "system": source.system,
        "folder": relative_url(root, place.parent) if root is not None else "",
        "images": relative_url(found.folder / "report" / source.folder, place.parent),
        "clips": clips,
    }


def _root(files: Mapping[str, Path]) -> Path | None:
    """The folder with files that are named after the ids of clips."""
    for clip, path in files.items():
        if path.as_posix().endswith(f"/{clip}{path.suffix}"):
            return Path(path.as_posix()[: -len(f"{clip}{path.suffix}")])
    return next(iter(files.values())).parent if files else None


def _source_clip(source: Source, clip: str, root: Path | None, sounds: Sounds | None) -> dict[str, Any] | None:
    """The audio of a clip: ``file`` within the folder where it is not ``ID.wav``, its length, onsets and problem."""
    path = source.files.get(clip)
    if path is None or root is None:
        return None
    made: dict[str, Any] = {}
    if path != root / f"{clip}.wav":
        made["file"] = relative_url(path, root)
    if not path.is_file():
        return made | {"lost": True}
    if sounds is not None:
        facts = sounds.of(source.folder, clip, path)
        short = {"s": "duration_s", "on": "onsets_s", "problem": "problem"}
        made |= {key: facts[name] for key, name in short.items() if name in facts}
    return made


def _own_plan(audio: Path, sections: Sequence[str]) -> dict[str, Any]:
    """The plan that a model wrote for its audio, and the events that it states."""
    try:
        written = load_json(read_small(audio.with_suffix(".json")))
        plan = read_plan(written["plan_text"], sections) if "outputs" in written else None
    except (OSError, ValueError, LookupError, TypeError):  # no model of ours wrote it
        return {}
    return {"plan": dict(plan), **_events(plan.story)} if plan else {}
