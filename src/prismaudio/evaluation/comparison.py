"""Comparison of systems on a suite: the folder of an evaluation, its systems, and the table of their scores."""

from __future__ import annotations

import argparse
import hashlib
import math
import unicodedata
from collections import Counter
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prismaudio.data.manifest import NAMED_FILES, ManifestEntry
from prismaudio.errors import DataError, PrismAudioError, first_of
from prismaudio.evaluation.intervals import MeanInterval, difference_interval, mean_interval
from prismaudio.evaluation.jobs import ScoreJob
from prismaudio.evaluation.results import scorer_info
from prismaudio.evaluation.run import ScoreRun
from prismaudio.media.files import relative, replacing
from prismaudio.media.segments import has_audio
from prismaudio.paths import AUDIO_SUFFIXES, VIDEO_SUFFIXES
from prismaudio.plan import Plan
from prismaudio.untrusted import escaped, json_text, load_json, read_small

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from prismaudio.evaluation.results import ScoreRecord
    from prismaudio.evaluation.suites import Suite
    from prismaudio.progress import Reporter
    from prismaudio.scorers import Scorer

STEREO_WIDTH = 0.01
"""Smallest :func:`prismaudio.metrics.width.stereo_width` of a reference that counts as stereo: -20 dB of all energy."""
MIN_CLIPS = 5
"""Fewest clips whose mean has an interval; a bootstrap of fewer promises too much."""
STEREO, ALL = "stereo references", "all clips"
NAMES = (
    *("clips.jsonl", "systems", "suite", "results.json", "results.md", "results.png", "embeddings"),
    *("video_encoders.json", "video_encoders.md", "text_encoders.json", "text_encoders.md"),
)
"""What an evaluation writes into its folder, besides the file by which the folder is known."""
MAX_ID_BYTES = 200
_REFERENCE_WIDTH = "ReferenceWidth"


@dataclass(frozen=True)
class System:
    """A system that is compared.

    Args:
        name: Its name in the table.
        audio: Its audio by id of the clip.
        model: The model that generates the audio; None for audio that is there.
        seconds: Seconds that a clip took to generate; None if that was not measured.
    """

    name: str
    audio: Mapping[str, Path]
    model: str | None = None
    seconds: float | None = None


@dataclass
class Cell:
    """What a scorer says of a system.

    Args:
        value: The value over the clips; None if there is none.
        n: Number of clips that count.
        low: Lower end of the interval of the value; None where there is none, as for a distance of distributions.
        high: Its upper end.
        difference: Mean difference from the baseline over the clips that both have, with its interval; None where
            these are too few, or the value is no mean over clips.
        reason: Why there is no value.
    """

    value: float | None = None
    n: int = 0
    low: float | None = None
    high: float | None = None
    difference: MeanInterval | None = None
    reason: str = ""

    def as_dict(self) -> dict[str, Any]:
        """The fields that are set, as numbers and text."""
        found: dict[str, Any] = {name: value for name, value in vars(self).items() if value not in (None, "")}
        if (apart := found.pop("difference", None)) is not None:
            found |= {"difference": apart.mean, "difference_low": apart.low, "difference_high": apart.high}
        return found


@dataclass
class Comparison:
    """The scores of several systems on the same clips.

    Args:
        scorers: What each scorer is, see :func:`prismaudio.evaluation.results.scorer_info`, by name.
        cells: Group of clips → scorer → system → cell.
        systems: Facts about each system.
        baseline: The system with which the others are compared.
        notes: What a reader of the values must know.
    """

    scorers: dict[str, dict[str, Any]]
    cells: dict[str, dict[str, dict[str, Cell]]] = field(default_factory=dict)
    systems: dict[str, dict[str, Any]] = field(default_factory=dict)
    baseline: str = ""
    notes: list[str] = field(default_factory=list)

    def as_dict(self) -> dict[str, Any]:
        """The content of ``results.json``."""
        groups = {
            group: {name: {system: cell.as_dict() for system, cell in row.items()} for name, row in rows.items()}
            for group, rows in self.cells.items()
        }
        return {
            "baseline": self.baseline,
            "systems": self.systems,
            "scorers": self.scorers,
            "groups": groups,
            "notes": self.notes,
        }


class EvaluationFolder:
    """The folder of an evaluation; a run that is repeated there goes on where the last one stopped.

    Args:
        folder: The folder.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @property
    def media(self) -> Path:
        """The folder for media that the suite makes."""
        return self.folder / "suite"

    def audio_of(self, name: str) -> Path:
        """The folder with the audio that a model generates."""
        return self.folder / "systems" / name / "audio"

    def scores_of(self, name: str) -> Path:
        """The file with the scores of a system."""
        return self.folder / "systems" / name / "scores.jsonl"

    def check(self) -> None:
        """Check that the folder is new, or that of an evaluation.

        Raises:
            DataError: It holds other files of the names that an evaluation writes.
        """
        if self._marker.exists():
            self._read(self._marker)
        elif taken := next((name for name in NAMES if (self.folder / name).exists()), None):
            raise DataError(
                f"{self.folder / taken} exists and is not that of an evaluation; choose another folder with -o"
            )

    @property
    def _marker(self) -> Path:
        return self.folder / "evaluation.json"

    def keep_clips(self, suite: Suite, entries: Sequence[ManifestEntry]) -> None:
        """Write the manifest of the clips, and check that the folder is not that of other clips.

        Raises:
            DataError: The folder holds the evaluation of other clips, or an id is no name for a file.
        """
        check_ids([entry.id for entry in entries])
        rows = [
            {
                "id": entry.id,
                **{
                    kind: relative(path, self.folder)
                    for kind, path in (("video", entry.video), ("audio", entry.audio))
                    if path is not None
                },
                **({"caption": list(entry.captions)} if entry.captions else {}),
                **({"plan": str(entry.plans[0])} if entry.plans else {}),
                **({suite.group: entry.columns.get(suite.group)} if suite.group else {}),
            }
            for entry in entries
        ]
        ids = sorted(entry.id for entry in entries)
        named = hashlib.sha256("\n".join(ids).encode("utf-8", "surrogatepass")).hexdigest()[:16]
        if self._marker.exists():
            found = self._read(self._marker)
            if found["ids"] != named:
                raise DataError(
                    f"{self.folder} holds the evaluation of {found.get('clips', 'other')} clips of "
                    f"{found.get('suite', 'another suite')}, and this one is of {len(ids)} clips of "
                    f"{type(suite).__name__}; choose another folder with -o"
                )
        self.folder.mkdir(parents=True, exist_ok=True)
        described = {"suite": type(suite).__name__, "clips": len(ids), "ids": named}
        for path, data in (
            (self._marker, json_text(described)),
            (self.folder / "clips.jsonl", b"".join(map(json_text, rows))),
        ):
            with replacing(path) as part:
                part.write_bytes(data)

    @staticmethod
    def _read(path: Path) -> dict[str, Any]:
        try:
            found = load_json(read_small(path))
        except (OSError, ValueError):
            found = None
        if not isinstance(found, dict) or "ids" not in found:
            raise DataError(f"{path} is not that of an evaluation; choose another folder with -o")
        return found


def check_ids(ids: Sequence[str]) -> None:
    """Check that ids name files, the same on every file system.

    Raises:
        DataError: Two are the same apart from case, or one is no name for a file without a suffix.
    """
    counts = Counter(unicodedata.normalize("NFC", name).casefold() for name in ids)
    for name in ids:
        if counts[unicodedata.normalize("NFC", name).casefold()] > 1:
            raise DataError(f"the suite has several clips with the id {name!r}, apart from case; expected each id once")
        parts = name.split("/")
        long = max(len(part.encode("utf-8", "surrogatepass")) for part in parts) > MAX_ID_BYTES
        media = Path(name).suffix.lower() in {*AUDIO_SUFFIXES, *VIDEO_SUFFIXES, ".json", ".png"}
        if long or media or not all(part.strip(".") for part in parts) or "\\" in name or "\0" in name:
            raise DataError(
                f"the id {name[:80]!r} is no name for the files of a clip; give clips plain names, such as dog_1, in "
                "the column id"
            )


def audio_files(folder: Path, entries: Iterable[ManifestEntry]) -> dict[str, Path]:
    """The audio of clips in a folder, by id: files of audio, or of video, named after the ids.

    Raises:
        DataError: There is no such folder, or it has the audio of no clip.
    """
    if not folder.is_dir():
        raise DataError(f"there is no folder {folder}; expected one with a file of audio for each clip, such as ID.wav")
    suffixes = [*sorted(AUDIO_SUFFIXES, key=lambda suffix: suffix != ".wav"), *sorted(VIDEO_SUFFIXES)]
    found: dict[str, Path] = {}
    for entry in entries:
        for suffix in suffixes:
            if (path := folder / f"{entry.id}{suffix}").is_file():
                found[entry.id] = path
                break
    if not found:
        raise DataError(
            f"{folder} has the audio of no clip of the suite; expected files such as ID.wav, named after ids"
        )
    return found


def score_system(
    system: System, entries: Sequence[ManifestEntry], folder: EvaluationFolder, options: argparse.Namespace,
    scorers: Sequence[Scorer], reporter: Reporter,
) -> tuple[ScoreRun, list[str]]:  # fmt: skip
    """Score the audio of a system; scores that are there are kept.

    Args:
        system: The system.
        entries: The clips.
        folder: The folder of the evaluation.
        options: ``force``, and the other options of ``prismaudio score``.
        scorers: The scorers, the same for all systems.
        reporter: Reports progress and failures.

    Returns:
        The scores, and the ids of clips whose audio is missing.
    """
    files = system.audio
    target = folder.scores_of(system.name)
    target.parent.mkdir(parents=True, exist_ok=True)
    given = argparse.Namespace(**vars(options) | {"json": str(target), "csv": None})
    jobs = [_job(entry, files[entry.id]) for entry in entries if entry.id in files]
    run = ScoreRun(given, [path for job in jobs for path in job.sources()], scorers)
    run.run(jobs, reporter)
    return run, [entry.id for entry in entries if entry.id not in files]


def _job(entry: ManifestEntry, audio: Path) -> ScoreJob:
    """The audio of a clip, compared with its plan or caption, its true audio and its video."""
    plan = next(iter(entry.texts), Plan({}))
    text = str(plan) if plan else ""
    return ScoreJob(audio, text, reference_of(entry), video=entry.video, columns={"id": entry.id})


def reference_of(entry: ManifestEntry) -> Path | None:
    """The true audio of a clip; None if there is none."""
    if entry.audio is not None or entry.video is None:
        return entry.audio
    try:
        return entry.video if has_audio(entry.video) else None
    except PrismAudioError:  # scoring says what is wrong with it
        return None


def compare(
    runs: Mapping[str, ScoreRun], entries: Sequence[ManifestEntry], baseline: str, group: str = "", seed: int = 0
) -> Comparison:
    """Compare the scores of systems.

    Args:
        runs: The scores of each system by its name.
        entries: The clips.
        baseline: The system with which the others are compared.
        group: Column whose values divide the clips into groups.
        seed: Seed of the intervals.
    """
    first = next(iter(runs.values()))
    found = Comparison({scorer.name: scorer_info(scorer) for scorer in first.scorers}, baseline=baseline)
    values = {name: _values(run.records) for name, run in runs.items()}
    for title, ids in _groups(entries, group, values).items():
        rows = found.cells.setdefault(title, {})
        for scorer in first.scorers:
            if title == STEREO and scorer.dimension != "spatial":
                continue
            base = values[baseline].get(scorer.name, {})
            rows[scorer.name] = {
                name: _cell(
                    runs[name].totals[scorer.name] if title == ALL else None,
                    {key: value for key, value in values[name].get(scorer.name, {}).items() if key in ids},
                    {key: value for key, value in base.items() if key in ids} if name != baseline else {},
                    seed,
                )
                for name in runs
            }
    found.notes = list(dict.fromkeys(f"{name}: {note}" for name, run in runs.items() for note in run.notes))
    return found


def _values(records: Iterable[ScoreRecord]) -> dict[str, dict[str, float]]:
    """Scorer → id of the clip → value."""
    found: dict[str, dict[str, float]] = {}
    for record in records:
        for name, score in record.scores.items():
            if score.value is not None:
                found.setdefault(name, {})[str(record.columns["id"])] = score.value
    return found


def groups_of(entries: Sequence[ManifestEntry], group: str) -> dict[str, set[str]]:
    """Ids of all clips, and of those of each value of a column.

    Args:
        entries: The clips.
        group: The column; empty for none.
    """
    groups = {ALL: {entry.id for entry in entries}}
    if group:
        for entry in entries:
            value = entry.columns.get(group)
            groups.setdefault(escaped(f"{group}: {'none' if value in (None, '') else value}"), set()).add(entry.id)
    return groups


def _groups(
    entries: Sequence[ManifestEntry], group: str, values: Mapping[str, Mapping[str, Mapping[str, float]]]
) -> dict[str, set[str]]:
    """The groups of :func:`groups_of`, and the clips whose reference is stereo."""
    groups = groups_of(entries, group)
    widths: dict[str, float] = {}
    for of_system in values.values():
        widths |= of_system.get(_REFERENCE_WIDTH, {})
    stereo = {name for name, width in widths.items() if width >= STEREO_WIDTH}
    if stereo and stereo != groups[ALL]:
        groups[STEREO] = stereo
    return groups


def _cell(
    total: Mapping[str, Any] | None, values: Mapping[str, float], baseline: Mapping[str, float], seed: int
) -> Cell:
    """The cell of a system.

    Args:
        total: The value over all clips by the scorer's own rule; None for the mean of the clips.
        values: Values of single clips by id.
        baseline: Those of the baseline; empty for the baseline itself.
        seed: Seed of the intervals.
    """
    whole = mean_interval(values.values(), seed=seed)
    cell = Cell(n=whole.clips)
    if total is None:
        if whole.mean is None:
            return replace(cell, reason="no clip of the group has a value")
        cell.value = whole.mean
    else:
        cell.value, cell.n = total["value"], total["files"]
        if cell.value is None:
            return replace(cell, reason=total.get("reason", ""))
    is_mean = whole.mean is not None and math.isclose(cell.value, whole.mean, rel_tol=1e-6, abs_tol=1e-9)
    if is_mean and whole.clips >= MIN_CLIPS:
        cell.low, cell.high = whole.low, whole.high
    apart = difference_interval(values, baseline, seed=seed)
    if is_mean and apart.clips >= MIN_CLIPS:
        cell.difference = apart
    return cell


def missing_line(system: str, missing: Sequence[str], n_clips: int) -> str:
    """A line about clips whose audio a system lacks."""
    return f"{system}: the audio of {len(missing)} of {n_clips} clips is missing: {first_of(missing, NAMED_FILES)}"
