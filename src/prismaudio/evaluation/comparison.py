"""Comparison of systems on a suite: the folder of an evaluation, its systems, and the table of their scores."""

from __future__ import annotations

import argparse
import hashlib
import math
import statistics
import unicodedata
from collections import Counter
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from prismaudio.data.manifest import COLUMNS, NAMED_FILES, ManifestEntry
from prismaudio.errors import DataError, PrismAudioError, first_of
from prismaudio.evaluation.intervals import (
    MeanInterval,
    difference_interval,
    draw_clips,
    mean_interval,
    percentile_interval,
)
from prismaudio.evaluation.jobs import ScoreJob
from prismaudio.evaluation.results import scorer_info
from prismaudio.evaluation.run import ScoreRun
from prismaudio.media.files import relative, replacing
from prismaudio.media.segments import has_audio
from prismaudio.paths import AUDIO_SUFFIXES, VIDEO_SUFFIXES
from prismaudio.plan import CORE, Plan
from prismaudio.scorers import MetricScorer
from prismaudio.untrusted import escaped, json_text, load_json, read_small

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

    from prismaudio.evaluation.suites import Suite
    from prismaudio.progress import Reporter
    from prismaudio.scorers import Scorer

STEREO_WIDTH = 0.01
"""Smallest :func:`prismaudio.metrics.width.stereo_width` of a reference that counts as stereo: -20 dB of all energy."""
MIN_CLIPS = 5
"""Fewest clips whose mean has an interval; a bootstrap of fewer promises too much."""
STEREO, ALL = "stereo references", "all clips"
FORMAT = 1
"""Version of the form of ``results.json``."""
NAMES = (
    *("clips.jsonl", "systems", "suite", "results.json", "results.md", "results.png", "results.tex", "results.csv"),
    *("clips.csv", "report.html", "report"),
    *("embeddings", "video_encoders.json", "video_encoders.md", "text_encoders.json", "text_encoders.md"),
)
"""What an evaluation writes into its folder, besides the file by which the folder is known."""
MAX_COLUMN_CHARACTERS = 80
"""Longest text of another column of a manifest that is kept with the clips, such as a class."""
MAX_ID_BYTES = 200
REFERENCE_WIDTH = "ReferenceWidth"


@dataclass(frozen=True)
class System:
    """A system that is compared.

    Args:
        name: Its name in the table.
        audio: Its audio by id of the clip.
        model: The model that generates the audio; None for audio that is there.
        seconds: Seconds that a clip took to generate; None if that was not measured.
        seed: Seed of the noise, where a model is measured with several; None for audio that is there.
    """

    name: str
    audio: Mapping[str, Path]
    model: str | None = None
    seconds: float | None = None
    seed: int | None = None


@dataclass
class Cell:
    """What a scorer says of a system.

    Args:
        value: The value over the clips; None if there is none.
        n: Number of clips that count.
        low: Lower end of the interval of the value; None where there is none, as for a distance of distributions.
        high: Its upper end.
        difference: Mean difference from the baseline over the clips that both have, with its interval; None where
            these are too few, or the value has no interval.
        seed_sd: Standard deviation of the value over seeds; None with one seed.
        reason: Why there is no value.
    """

    value: float | None = None
    n: int = 0
    low: float | None = None
    high: float | None = None
    difference: MeanInterval | None = None
    seed_sd: float | None = None
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
        columns: Columns whose values divide the clips into groups.
    """

    scorers: dict[str, dict[str, Any]]
    cells: dict[str, dict[str, dict[str, Cell]]] = field(default_factory=dict)
    systems: dict[str, dict[str, Any]] = field(default_factory=dict)
    baseline: str = ""
    notes: list[str] = field(default_factory=list)
    columns: list[str] = field(default_factory=list)

    def describe(self, seeds: Sequence[System], missing: Sequence[str], n_clips: int, folder: Path) -> None:
        """Add the facts about a system.

        Args:
            seeds: The system, with each seed that it is measured with.
            missing: Ids of clips whose audio is missing.
            n_clips: Number of clips of the suite.
            folder: The folder of the evaluation.
        """
        system = seeds[0]
        facts: dict[str, Any] = {
            "model": system.model,
            "clips": n_clips - len(missing),
            "seconds_per_clip": system.seconds,
        }
        facts |= {"seeds": len(seeds), "further_seeds": [one.seed for one in seeds[1:]]} if len(seeds) > 1 else {}
        facts["audio"] = audio_folder(system, folder)
        self.systems[system.name] = {key: value for key, value in facts.items() if value is not None}
        if missing:
            names = first_of(missing, NAMED_FILES)
            self.notes.append(f"{system.name}: the audio of {len(missing)} of {n_clips} clips is missing: {names}")

    def as_dict(self) -> dict[str, Any]:
        """The content of ``results.json``."""
        groups = {
            group: {name: {system: cell.as_dict() for system, cell in row.items()} for name, row in rows.items()}
            for group, rows in self.cells.items()
        }
        return {
            "format": FORMAT,
            "baseline": self.baseline,
            "columns": self.columns,
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

    def of_system(self, name: str, seed: int | None = None) -> Path:
        """The folder of a system; ``seed`` for the audio and the scores of a further seed."""
        place = self.folder / "systems" / name
        return place if seed is None else place / f"seed-{seed}"

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
                **_short_columns(entry),
                **{name: entry.columns.get(name) for name in suite.group_columns},
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
        if (
            long
            or media
            or not all(part.strip(".") for part in parts)
            or "\\" in name
            or any(unicodedata.category(char) == "Cc" for char in name)
        ):
            raise DataError(
                f"the id {name[:80]!r} is no name for the files of a clip; give clips plain names, such as dog_1, in "
                "the column id"
            )


def _short_columns(entry: ManifestEntry) -> dict[str, Any]:
    """Other columns of a clip that may be a class: short texts and numbers."""
    taken = {*COLUMNS, *CORE, *(name for plan in entry.plans for name in plan)}
    return {
        name: value
        for name, value in entry.columns.items()
        if name not in taken
        and isinstance(value, str | int | float)
        and 0 < len(str(value)) <= MAX_COLUMN_CHARACTERS
        and not (isinstance(value, float) and not math.isfinite(value))
    }


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


def audio_folder(system: System, folder: Path) -> str | None:
    """The folder of a system's audio, from that of the evaluation; None if the files are not named after ids."""
    for name, path in system.audio.items():
        if path.as_posix().endswith(named := f"/{name}{path.suffix}"):
            return relative(Path(path.as_posix().removesuffix(named)), folder)
    return None


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
    target = folder.of_system(system.name, system.seed) / "scores.jsonl"
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


@dataclass
class _Seed:
    """What a scorer says of a system with one seed.

    Args:
        values: Value of each clip, by its id.
        states: Summed states of the metric of each clip, flattened; empty if its value is not that of their sums.
        total: Value over all clips, with the number of clips and why there is none; None for some of the clips.
    """

    values: dict[str, float]
    states: dict[str, Tensor]
    total: dict[str, Any] | None = None

    def value(self, value_of: Callable[[Tensor], float] | None) -> float | None:
        """Value over the clips by the scorer's own rule; None if there is none."""
        if self.total is not None:
            return self.total["value"]
        if value_of is None or not self.states:
            return statistics.fmean(self.values.values()) if self.values else None
        value = value_of(torch.stack(list(self.states.values())).sum(0))
        return value if math.isfinite(value) else None

    @property
    def is_mean(self) -> bool:
        """Whether the value over all clips, if there is one, is the mean of their values."""
        if self.total is None or self.total["value"] is None:
            return self.total is None or not self.values
        mean = statistics.fmean(self.values.values()) if self.values else math.nan
        return math.isclose(self.total["value"], mean, rel_tol=1e-6, abs_tol=1e-9)


@dataclass
class _Scored:
    """What a scorer says of a system: the mean over its seeds.

    Args:
        seeds: What it says with each seed.
        value_of: Value of summed states; None for a scorer whose value is not that of their sums.
        is_mean: Whether its value is the mean of the clips; a clip then counts with the mean of its seeds.
    """

    seeds: list[_Seed]
    value_of: Callable[[Tensor], float] | None = None
    is_mean: bool = True

    def of(self, ids: Collection[str]) -> _Scored:
        """The same of some clips."""
        seeds = [
            _Seed(
                {name: value for name, value in seed.values.items() if name in ids},
                {name: state for name, state in seed.states.items() if name in ids},
            )
            for seed in self.seeds
        ]
        return replace(self, seeds=seeds)

    @property
    def values(self) -> dict[str, float]:
        """Mean over the seeds of each clip, by its id."""
        found: dict[str, list[float]] = {}
        for seed in self.seeds:
            for name, value in seed.values.items():
                found.setdefault(name, []).append(value)
        return {name: statistics.fmean(given) for name, given in found.items()}

    @property
    def clips(self) -> set[str]:
        """Ids of the clips whose states are known."""
        return set().union(*(seed.states for seed in self.seeds))

    @property
    def n(self) -> int:
        """Number of clips that count."""
        return max(seed.total["files"] if seed.total else len(seed.states or seed.values) for seed in self.seeds)

    @property
    def by_seed(self) -> list[float]:
        """Value over the clips of each seed that has one."""
        return [value for seed in self.seeds if (value := seed.value(self.value_of)) is not None]

    @property
    def value(self) -> float | None:
        """Value over the clips; None if there is none."""
        given = list(self.values.values()) if self.is_mean else self.by_seed
        return statistics.fmean(given) if given else None

    def resampled(self, ids: Sequence[str], picks: Tensor) -> Tensor:
        """Value ``(draws,)`` of sets of clips by summed states, for indices ``(draws, n)`` of the clips ``ids``."""
        found = []
        for seed in self.seeds:
            if not seed.states or self.value_of is None:
                continue
            none = torch.zeros_like(next(iter(seed.states.values())))
            sums = torch.stack([seed.states.get(name, none) for name in ids])[picks].sum(1)
            found.append(torch.tensor([self.value_of(row) for row in sums], dtype=torch.float64))
        return torch.stack(found).nanmean(0)


def compare(
    runs: Mapping[str, Sequence[ScoreRun]],
    entries: Sequence[ManifestEntry],
    baseline: str,
    groups: Sequence[str] = (),
    seed: int = 0,
) -> Comparison:
    """Compare the scores of systems.

    Args:
        runs: The scores of each system by its name, one run for each seed.
        entries: The clips.
        baseline: The system with which the others are compared.
        groups: Columns whose values divide the clips into groups.
        seed: Seed of the intervals.
    """
    scorers = next(iter(runs.values()))[0].scorers
    found = Comparison({scorer.name: scorer_info(scorer) for scorer in scorers}, baseline=baseline)
    found.columns = list(groups)
    scored = {
        name: {scorer.name: _scored(scorer, system_runs) for scorer in scorers} for name, system_runs in runs.items()
    }
    widths = [row[REFERENCE_WIDTH].values for row in scored.values() if REFERENCE_WIDTH in row]
    for title, ids in groups_of(entries, groups, widths).items():
        rows = found.cells.setdefault(title, {})
        for scorer in scorers:
            if title == STEREO and scorer.dimension != "spatial":
                continue
            of_group = {
                name: row[scorer.name] if title == ALL else row[scorer.name].of(ids) for name, row in scored.items()
            }
            rows[scorer.name] = {
                name: _cell(of_system, of_group[baseline] if name != baseline else None, seed)
                for name, of_system in of_group.items()
            }
    notes = (f"{name}: {note}" for name, system_runs in runs.items() for run in system_runs for note in run.notes)
    found.notes = list(dict.fromkeys(notes))
    return found


def _scored(scorer: Scorer, runs: Sequence[ScoreRun]) -> _Scored:
    """What a scorer says of a system in the runs of its seeds."""
    sums = scorer.sums if isinstance(scorer, MetricScorer) else ()
    seeds = []
    for run in runs:
        seed = _Seed({}, {}, run.totals[scorer.name])
        for record in run.records:
            name, score = str(record.columns["id"]), record.scores.get(scorer.name)
            if score is not None and score.value is not None:
                seed.values[name] = score.value
            if sums and (state := record.states.get(scorer.name)):
                flat = [torch.tensor(state[part], dtype=torch.float64).flatten() for part in sums]
                seed.states[name] = torch.cat(flat)
        seeds.append(seed)
    value_of = scorer.value_of if isinstance(scorer, MetricScorer) and sums else None
    return _Scored(seeds, value_of, all(seed.is_mean for seed in seeds))


def groups_of(
    entries: Sequence[ManifestEntry], columns: Sequence[str], widths: Iterable[Mapping[str, float]] = ()
) -> dict[str, set[str]]:
    """All clips, those of each value of each column, and those whose reference is stereo: title → ids.

    Args:
        entries: The clips.
        columns: Columns whose values divide the clips.
        widths: Width of the reference by id of the clip, as each system was measured.
    """
    groups = {ALL: {entry.id for entry in entries}}
    for name in columns:
        for entry in entries:
            value = entry.columns.get(name)
            groups.setdefault(escaped(f"{name}: {'none' if value in (None, '') else value}"), set()).add(entry.id)
    stereo = {name for of_system in widths for name, width in of_system.items() if width >= STEREO_WIDTH}
    if stereo and stereo != groups[ALL]:
        groups[STEREO] = stereo
    return groups


def _cell(scored: _Scored, baseline: _Scored | None, seed: int) -> Cell:
    """The cell of a system.

    Args:
        scored: What the scorer says of the system.
        baseline: What it says of the baseline; None for the baseline itself.
        seed: Seed of the intervals.
    """
    cell = Cell(scored.value, scored.n)
    totals = [seed.total for seed in scored.seeds if seed.total is not None]
    if cell.value is None:
        reasons = (total.get("reason", "") for total in totals)
        return replace(cell, reason=next(filter(None, reasons), "no clip of the group has a value"))
    cell.seed_sd = statistics.stdev(scored.by_seed) if totals and len(scored.by_seed) > 1 else None
    own = _interval([scored], seed)
    cell.low, cell.high = own.low, own.high
    if baseline is not None and (apart := _interval([scored, baseline], seed)).low is not None:
        cell.difference = apart
    return cell


def _interval(systems: Sequence[_Scored], seed: int) -> MeanInterval:
    """Interval of the value of a system, or of two by which the first one is larger than the second.

    It has no bounds for fewer than :data:`MIN_CLIPS` clips, and for a value that is neither a mean nor of sums.
    """
    is_mean = all(system.is_mean for system in systems)
    of_clips = [set(system.values) if is_mean else system.clips for system in systems]
    ids = sorted(set.intersection(*of_clips))
    none = MeanInterval(None, None, None, len(ids), len(set().union(*of_clips)) - len(ids))
    if len(ids) < MIN_CLIPS:
        return none
    if is_mean and len(systems) == 1:
        return mean_interval([systems[0].values[name] for name in ids], seed=seed)
    if is_mean:
        return difference_interval(systems[0].values, systems[1].values, seed=seed)
    if systems[0].value_of is None:
        return none
    picks = torch.cat([torch.arange(len(ids))[None], draw_clips(len(ids), seed=seed)])  # first all clips, once each
    first, *others = (system.resampled(ids, picks) for system in systems)
    values = first - others[0] if others else first
    low, high = percentile_interval(values[1:]) or (None, None)
    return MeanInterval(float(values[0]), low, high, len(ids), none.left_out)
