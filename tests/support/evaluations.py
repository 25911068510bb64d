"""Folders of evaluations without generation and scoring: the files are those of ``prismaudio evaluate``."""

from __future__ import annotations

import json
import random
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from prismaudio.data.manifest import ManifestEntry
from prismaudio.evaluation.comparison import EvaluationFolder, System, compare
from prismaudio.evaluation.intervals import mean_interval
from prismaudio.evaluation.results import JsonLines, ScoreRecord
from prismaudio.plan import Plan
from prismaudio.scorers import Score
from prismaudio.untrusted import json_text

SCORERS = {
    "TemporalReward": ("temporal", True, (0.0, 1.0)),
    "SpatialReward": ("spatial", True, (0.0, 1.0)),
    "GccMse": ("spatial", False, (0.0, float("inf"))),
    "StereoWidth": ("spatial", None, (0.0, 1.0)),
}


def scorer(name: str, dimension: str, higher: Any, bounds: tuple[float, float]) -> Any:
    """What a comparison reads of a scorer."""
    return SimpleNamespace(
        name=name, kind="metrics", dimension=dimension, range=bounds, higher_is_better=higher, source="test 1.0"
    )


def clip(index: int, folder: Path, **columns: Any) -> ManifestEntry:
    """A clip whose files are in ``folder/media``."""
    name = f"clip{index:04d}"
    plan = Plan({"semantic": f"A bell <{index}> rings & fades.", "temporal": "The bell sounds at 0.30 s."})
    columns = {"events": "single" if index % 2 else "multi", "class": f"class {index % 7}", **columns}
    media = folder / "media"
    return ManifestEntry(name, media / f"{name}.mp4", media / f"{name}.wav", plans=(plan,), columns=columns)


def make_evaluation(
    folder: Path, n_clips: int = 6, systems: tuple[str, ...] = ("one", "two"), clips: list[ManifestEntry] | None = None,
    lacking: int = 0, names: tuple[str, ...] = tuple(SCORERS), of: dict[str, tuple[Any, ...]] | None = None,
) -> list[ManifestEntry]:  # fmt: skip
    """Write the folder of an evaluation, without media.

    Args:
        folder: The folder.
        n_clips: Number of clips.
        systems: Names of the systems.
        clips: The clips; None for some made up.
        lacking: Number of clips that the last system lacks.
        names: Scorers.
        of: What the scorers are, in the form of :data:`SCORERS`.
    """
    clips = clips if clips is not None else [clip(index, folder) for index in range(n_clips)]
    files = EvaluationFolder(folder)
    files.keep_clips(SimpleNamespace(group_columns=("events",)), clips)  # type: ignore[arg-type]
    scorers = [scorer(name, *(of or SCORERS)[name]) for name in names]
    runs, made_systems = {}, []
    for number, system in enumerate(systems):
        rng = random.Random(number)
        made = clips[: len(clips) - lacking] if number == len(systems) - 1 else clips
        audio = {one.id: folder / "audio" / system / f"{one.id}.wav" for one in made}
        records = [
            ScoreRecord(
                str(audio[one.id]),
                "request",
                {each.name: Score(min(max(rng.gauss(0.5 + 0.05 * number, 0.15), 0), 1)) for each in scorers},
                columns={"id": one.id},
            )
            for one in made
        ]
        path = files.of_system(system) / "scores.jsonl"
        path.parent.mkdir(parents=True, exist_ok=True)
        writer = JsonLines(str(path), scorers)
        path.write_text("".join(writer.lines(record) for record in records), encoding="utf-8")
        totals = {
            each.name: {
                "value": mean_interval([r.scores[each.name].value for r in records]).mean,
                "files": len(records),
            }
            for each in scorers
        }
        runs[system] = [SimpleNamespace(records=records, scorers=scorers, totals=totals, notes=[])]
        made_systems.append((System(system, audio), [one.id for one in clips if one.id not in audio]))
    found = compare(runs, clips, systems[0], ["events"])  # type: ignore[arg-type]
    for one, missing in made_systems:
        found.describe([one], missing, len(clips), folder)
    (folder / "results.json").write_bytes(json_text(found.as_dict(), indent=2))
    return clips


def change_results(folder: Path, change: Any) -> None:
    """Change what ``results.json`` says."""
    path = folder / "results.json"
    found = json.loads(path.read_text(encoding="utf-8"))
    change(found)
    path.write_text(json.dumps(found), encoding="utf-8")
