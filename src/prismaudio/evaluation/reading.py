"""What the folder of an evaluation holds, read for its report and its tables."""

from __future__ import annotations

import math
import os
import statistics
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prismaudio.data.manifest import COLUMNS, ManifestEntry, read_rows
from prismaudio.errors import DataError, PrismAudioError, reason
from prismaudio.evaluation.comparison import ALL, FORMAT, Cell, Comparison, EvaluationFolder, check_ids
from prismaudio.evaluation.intervals import MeanInterval
from prismaudio.evaluation.results import JsonLines
from prismaudio.media.segments import has_audio
from prismaudio.paths import AUDIO_SUFFIXES, VIDEO_SUFFIXES
from prismaudio.plan import CORE, Plan
from prismaudio.untrusted import MAX_TABLE_BYTES, load_json, read_small

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from prismaudio.evaluation.results import ScoreRecord


@dataclass
class Evaluation:
    """What the folder of an evaluation holds.

    Args:
        folder: The folder.
        title: The suite and its number of clips.
        comparison: The content of ``results.json``.
        clips: The clips; their files need not exist.
        scores: The scores of each system: scorer → id of the clip → mean over the seeds.
        audio: The audio of each system, of its first seed: id of the clip → file; one that has moved away is where it
            was.
        references: The true audio by id of the clip.
        sections: Sections that plans may have.
    """

    folder: Path
    title: str
    comparison: Comparison
    clips: list[ManifestEntry]
    scores: dict[str, dict[str, dict[str, float]]]
    audio: dict[str, dict[str, Path]]
    references: dict[str, Path]
    sections: Sequence[str] = CORE
    truths: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        """Find the systems whose audio is the true audio itself; they are left out where the best is marked."""
        for name, files in self.audio.items():
            if files and all(self.references.get(clip) == path for clip, path in files.items()):
                self.truths.add(name)


def read_evaluation(folder: Path, sections: Sequence[str] = CORE) -> Evaluation:
    """Read the folder of an evaluation that has results.

    Args:
        folder: The folder.
        sections: Sections that plans may have.

    Raises:
        DataError: It is not the folder of an evaluation, has no results, or those of another version.
    """
    files = EvaluationFolder(folder)
    marker = _json(folder / "evaluation.json", folder)
    comparison = read_comparison(folder / "results.json", folder)
    clips = [_entry(folder, cells, sections) for _, cells in read_rows(folder / "clips.jsonl", [*COLUMNS, *sections])]
    check_ids([clip.id for clip in clips])
    check_ids(list(comparison.systems))
    ids = [clip.id for clip in clips]
    scores, audio = {}, {}
    for name, facts in comparison.systems.items():
        stated = facts.get("audio")
        roots = [folder / stated] if isinstance(stated, str) else []
        roots.append(files.of_system(name) / "audio")
        records = _records(files.of_system(name), roots[0])
        further = [seed for seed in facts.get("further_seeds") or [] if isinstance(seed, int)]
        others = [_records(place := files.of_system(name, seed), place / "audio") for seed in further]
        scores[name] = _means([records, *others])
        audio[name] = _audio_of(ids, records, roots)
    title = f"{marker.get('suite', 'evaluation')}, {len(clips)} clips"
    return Evaluation(folder, title, comparison, clips, scores, audio, _references(clips), sections)


def _records(place: Path, audio: Path) -> dict[str, ScoreRecord]:
    """The scores in the folder of a system by id; of a clip that was scored twice, those of its present audio."""
    found = [record for record in JsonLines(str(place / "scores.jsonl"), ()).records.values() if "id" in record.columns]
    now = os.path.abspath(audio)  # noqa: PTH100 - links are not resolved
    found.sort(key=lambda record: os.path.abspath(record.file).startswith(f"{now}{os.sep}"))  # noqa: PTH100
    return {str(record.columns["id"]): record for record in found}


def _means(seeds: Sequence[Mapping[str, ScoreRecord]]) -> dict[str, dict[str, float]]:
    """Scorer → id of the clip → mean over the seeds."""
    found: dict[str, dict[str, list[float]]] = {}
    for clip, record in (item for records in seeds for item in records.items()):
        for name, score in record.scores.items():
            if score.value is not None:
                found.setdefault(name, {}).setdefault(clip, []).append(score.value)
    return {name: {clip: statistics.fmean(each) for clip, each in row.items()} for name, row in found.items()}


def read_comparison(path: Path, folder: Path) -> Comparison:
    """Read ``results.json``.

    Raises:
        DataError: There is none, it is not that of an evaluation, or it has another format.
    """
    found = _json(path, folder)
    again = "run the command of the evaluation again, which keeps the audio and the scores"
    if found.get("format") != FORMAT:
        if "groups" in found and "format" not in found:
            raise DataError(f"{path} was written by an older version and states no format; {again}")
        raise DataError(f"{path} has the format {found.get('format')!r}; this version reads {FORMAT}; {again}")
    try:
        systems = {str(name): dict(facts) for name, facts in found["systems"].items()}
        cells = {
            str(group): {
                str(name): {system: _cell(row.get(system, {})) for system in systems} for name, row in rows.items()
            }
            for group, rows in found["groups"].items()
        }
        scorers = {
            str(name): {"dimension": None, "higher_is_better": None, "range": [None, None], "source": "", **about}
            for name, about in found["scorers"].items()
        }
        if not systems or ALL not in cells or any(name not in scorers for rows in cells.values() for name in rows):
            raise ValueError("it lacks systems, groups or scorers")
        notes = [str(note) for note in found["notes"]]
        return Comparison(scorers, cells, systems, str(found["baseline"]), notes, list(map(str, found["columns"])))
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise DataError(f"{path} is not as prismaudio evaluate writes it ({error}); {again}") from error


def _json(path: Path, folder: Path) -> dict[str, Any]:
    try:
        found = load_json(read_small(path, MAX_TABLE_BYTES))
    except FileNotFoundError:
        found = None
        if folder.is_dir() and path.name == "results.json" and (folder / "evaluation.json").exists():
            raise DataError(f"{folder} has no results.json; its evaluation did not end, run it again") from None
    except (OSError, ValueError) as error:
        raise DataError(f"cannot read {path}: {error if isinstance(error, ValueError) else reason(error)}") from error
    if not isinstance(found, dict):
        raise DataError(f"{folder} is not the folder of an evaluation; expected what prismaudio evaluate wrote with -o")
    return found


def _cell(found: Mapping[str, Any]) -> Cell:
    """A cell of ``results.json``; a number that is not finite is none."""
    number = {name: value if is_finite(value) else None for name, value in found.items()}
    cell = Cell(number.get("value"), int(number.get("n") or 0), number.get("low"), number.get("high"))
    if number.get("difference") is not None:
        low, high = number.get("difference_low"), number.get("difference_high")
        cell.difference = MeanInterval(number["difference"], low, high, cell.n, 0)
    cell.seed_sd = number.get("seed_sd")
    cell.reason = str(found.get("reason", "")) or ("" if cell.value is not None else "it is not a number")
    return cell


def is_finite(value: Any) -> bool:
    """Whether a value of a JSON file is a number that is finite."""
    return isinstance(value, int | float) and math.isfinite(value)


def _entry(folder: Path, cells: Mapping[str, Any], sections: Sequence[str]) -> ManifestEntry:
    """A clip of ``clips.jsonl``; its files need not exist."""
    files = {kind: folder / named for kind in ("video", "audio") if isinstance(named := cells.get(kind), str) and named}
    captions = cells.get("caption") or []
    captions = tuple(map(str, [captions] if isinstance(captions, str) else captions))
    plan = read_plan(cells.get("plan"), sections)
    return ManifestEntry(
        str(cells.get("id", "")),
        files.get("video"),
        files.get("audio"),
        captions=captions,
        plans=(plan,) if plan else (),
        columns=cells,
    )


def read_plan(text: Any, sections: Sequence[str]) -> Plan | None:
    """A plan of a JSON file; a text that is none is its semantic section, and nothing is None."""
    try:
        return Plan.parse(text, sections) if isinstance(text, str) and text else None
    except PrismAudioError:
        return Plan({"semantic": text})


def _audio_of(ids: Iterable[str], records: Mapping[str, ScoreRecord], roots: Sequence[Path]) -> dict[str, Path]:
    """The audio of a system: in its folder, or else where it was when it was scored."""
    found = {}
    for clip in ids:
        scored = Path(records[clip].file) if clip in records else None
        suffix = ".wav" if scored is None else scored.suffix.lower()
        places = [root / f"{clip}{suffix}" for root in roots] + ([scored] if scored is not None else [])
        path = next((place for place in places if place.is_file()), places[0] if scored is not None else None)
        if path is not None and path.suffix.lower() in {*AUDIO_SUFFIXES, *VIDEO_SUFFIXES}:
            found[clip] = path
    return found


def _references(clips: Iterable[ManifestEntry]) -> dict[str, Path]:
    """The true audio of clips: their audio, or a video that has a sound."""
    found = {}
    for clip in clips:
        path = clip.audio
        if path is None and clip.video is not None and clip.video.is_file():
            try:
                path = clip.video if has_audio(clip.video) else None
            except PrismAudioError:  # the page says that it cannot be played
                path = None
        if path is not None:
            found[clip.id] = path
    return found
