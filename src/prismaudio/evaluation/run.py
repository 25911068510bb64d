"""Scoring of files in sequence: skips scored files, continues after a failure, and saves after each file."""

from __future__ import annotations

import math
import statistics
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from prismaudio.downloads import cache_home
from prismaudio.errors import PrismAudioError
from prismaudio.evaluation.files import installed_scorers, read_plan, score_file
from prismaudio.evaluation.jobs import AUTO, read_plan_text
from prismaudio.evaluation.results import Csv, JsonLines, ResultsFile, ScoreRecord
from prismaudio.evaluation.table import show
from prismaudio.inference import PrismAudio
from prismaudio.media.segments import has_video
from prismaudio.scorers import OF_MANY, MetricScorer
from prismaudio.untrusted import load_json, read_small

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from prismaudio.evaluation.jobs import ScoreJob
    from prismaudio.plan import Plan
    from prismaudio.progress import Reporter
    from prismaudio.scorers import Scorer

MAX_NUMBERS = 1024
"""Maximum size of a metric's state in a results file; larger states are recomputed when a run is resumed."""


def make_scorers(options: argparse.Namespace) -> list[Scorer]:
    """The scorers that the options of the command line name.

    Raises:
        PrismAudioError: There are none, or one that is named cannot be created.
    """
    folder = None if options.no_cache else cache_home() / "prepared"
    scorers = installed_scorers(options.rewards, options.metrics, options.device, folder)
    if not scorers:
        raise PrismAudioError("there are no scorers; give a reward or a metric, see prismaudio plugins list")
    return scorers


class ScoreRun:
    """Scores files.

    Args:
        options: The parsed command line.
        sources: Files that are read and must not be overwritten.
        scorers: The scorers, which several runs may share one after another; None for those of the options.

    Attributes:
        totals: The value of each scorer over all files, once :meth:`run` is done: the mean of a reward, a metric's own.
    """

    def __init__(
        self, options: argparse.Namespace, sources: Sequence[Path] = (), scorers: Sequence[Scorer] | None = None
    ) -> None:
        self.options = options
        self.scorers = list(make_scorers(options) if scorers is None else scorers)
        self.totals: dict[str, dict[str, Any]] = {}
        kinds = ((JsonLines, options.json), (Csv, options.csv))
        self.results: list[ResultsFile] = [kind(target, self.scorers, sources) for kind, target in kinds if target]
        self.identities = [scorer.identity for scorer in self.scorers]
        self.records: list[ScoreRecord] = []
        self.notes: list[str] = []
        self._obeying: list[str] = []
        self._model: PrismAudio | None = None

    def run(self, jobs: Sequence[ScoreJob], reporter: Reporter) -> None:
        """Score files.

        Args:
            jobs: The files.
            reporter: Reports progress and failures.
        """
        n_before = len(reporter.failures)
        for scorer in self.scorers:
            if isinstance(scorer, MetricScorer):
                scorer.forget()
        done = {} if self.options.force else {job.path: found for job in jobs if (found := self._found(job))}
        for results in self.results:
            results.columns.update((str(job.path), job.columns) for job in jobs if job.columns)
        for results in self.results:
            results.start(job.path for job in jobs if job.path not in done)
        for job in jobs:
            try:
                if job.path in done:
                    self._restore(job, done[job.path])
                    reporter.finish(f"{job.path}: skipped, already scored (--force to score it again)")
                else:
                    self._score(job, reporter)
            except Exception as error:  # noqa: BLE001 - one bad file must not stop the others
                reporter.fail(job.path, error)
        self.notes = [*self._unused_options(jobs), *self._cautions()]
        for note in self.notes:
            reporter.write(f"note: {note}")
        self.totals = self._totals()
        for results in self.results:
            results.finish(len(self.records), self.totals, reporter.failures[n_before:], self.notes)

    def show(self) -> None:
        """Print the scores, unless results are written to standard output."""
        if self.records and not any(results.path is None for results in self.results):
            show(self.scorers, self.records, self.totals)

    def _totals(self) -> dict[str, dict[str, Any]]:
        totals: dict[str, dict[str, Any]] = {}
        for scorer in self.scorers:
            scores = [record.scores[scorer.name] for record in self.records if scorer.name in record.scores]
            values = [score.value for score in scores if score.value is not None]
            counted = sum(is_measured(record, scorer.name) for record in self.records)
            total = scorer.total() if isinstance(scorer, MetricScorer) else None
            mean, spread = mean_and_spread(values)
            value = total.value if total is not None else mean
            if total is not None and not (spread and value is not None and math.isclose(value, mean or 0.0)):
                spread = None  # the value is not the mean of the files, so their deviation says nothing about it
            reason = next((score.reason for score in scores if score.reason not in ("", OF_MANY)), "")
            totals[scorer.name] = {"value": value, "sd": spread, "files": counted}
            if value is None:
                totals[scorer.name]["reason"] = reason or (total.reason if total is not None else "")
        return totals

    def _unused_options(self, jobs: Sequence[ScoreJob]) -> list[str]:
        """A line for each option, and each stated input, that changes nothing."""
        present = [scorer for scorer in self.scorers if scorer.unavailable is None]
        names = ", ".join(scorer.name for scorer in present)
        reads = frozenset[Any]().union(*(scorer.reads for scorer in present))
        given = {"plan": any(job.plan for job in jobs), "reference": any(job.reference for job in jobs)}
        reads |= {"reference"} if "video" in reads else set()  # its frames are those of an audio file
        notes = [
            f"the {need} has no effect, because none of {names} reads a {need}"
            for need, is_given in given.items()
            if present and is_given and need not in reads
        ]
        if self.options.force and not self.results:
            notes.append("--force has no effect without --json or --csv; without them every file is scored")
        return notes

    def _cautions(self) -> list[str]:
        """A line for each value that says less than it seems to."""
        notes = []
        if self._obeying:
            readers = [scorer.name for scorer in self.scorers if "plan" in scorer.reads and scorer.unavailable is None]
            which = self._obeying[0] if len(self._obeying) == 1 else f"{len(self._obeying)} files"
            notes.append(
                f"{which}: the plan is the one that the audio was generated from, so that "
                f"{', '.join(readers)} tell how well the model obeys its plan, not how well the audio fits the video"
            )
        measured = [scorer for scorer in self.scorers if isinstance(scorer, MetricScorer)]
        return notes + [f"{scorer.name}: {caution}" for scorer in measured if (caution := scorer.caution())]

    def _note_own_plan(self, job: ScoreJob, plan: Plan | None) -> None:
        """Note a file that ``prismaudio generate`` made from this very plan."""
        if plan is None or not any("plan" in scorer.reads for scorer in self.scorers):
            return
        try:
            made = load_json(read_small(job.path.with_suffix(".json")))
            if job.path.name in made["outputs"] and read_plan(made["plan_text"]) == plan:
                self._obeying.append(str(job.path))
        except (OSError, ValueError, LookupError, TypeError, PrismAudioError):
            return  # generate did not make it

    def _score(self, job: ScoreJob, reporter: Reporter) -> None:
        begin_s = time.monotonic()
        if job.error:
            raise PrismAudioError(job.error)
        plan = self._plan(job)
        scores, warnings = score_file(job.path, self.scorers, plan, job.reference, job.video)
        states = {
            scorer.name: numbers
            for scorer in self.scorers
            if isinstance(scorer, MetricScorer) and scorer.last is not None and (numbers := as_numbers(scorer.last))
        }
        failed = [f"{job.path}: {name}: {score.reason}" for name, score in scores.items() if score.failed]
        request = job.request(self.identities) + " failed" * bool(failed)  # so that the next run scores it again
        record = ScoreRecord(str(job.path), request, scores, states, job.columns)
        for results in self.results:
            results.add(record)
        self.records.append(record)
        self._note_own_plan(job, plan)
        for warning in warnings:
            reporter.write(f"warning: {job.path}: {warning}")
        reporter.failures += failed
        n_scored = sum(score.value is not None for score in scores.values())
        spent_s = time.monotonic() - begin_s
        reporter.finish(f"{job.path}: {n_scored} scores, {len(scores) - n_scored} skipped ({spent_s:.1f} s)")

    def _restore(self, job: ScoreJob, record: ScoreRecord) -> None:
        """Restore the scores of an earlier run, and recompute metric states that were too large to store."""
        lost = []
        for scorer in self.scorers:
            if not isinstance(scorer, MetricScorer) or not is_measured(record, scorer.name):
                continue
            try:
                scorer.add(from_numbers(record.states[scorer.name], scorer))
            except Exception:  # noqa: BLE001 - not stored, or not accepted by a third-party metric
                lost.append(scorer)
        if lost:
            score_file(job.path, lost, self._plan(job), job.reference, job.video)
        if job.plan != AUTO:  # that would be written again
            self._note_own_plan(job, self._plan(job))
        self.records.append(record)

    def _found(self, job: ScoreJob) -> ScoreRecord | None:
        """The record of a file, if all results files contain it with the same settings."""
        found = [results.find(job.path) for results in self.results]
        if job.error or not found or None in found:
            return None
        try:
            request = job.request(self.identities)
        except (PrismAudioError, OSError):  # reported when the file is scored
            return None
        names = {scorer.name for scorer in self.scorers}
        complete = [r for r in found if r and r.request == request and names <= r.scores.keys()]
        return complete[0] if len(complete) == len(found) else None

    def _plan(self, job: ScoreJob) -> Plan | None:
        if not job.plan:
            return None
        if job.plan != AUTO:
            return read_plan(job.plan if "<" in job.plan else read_plan_text(Path(job.plan)))
        video = next((path for path in (job.path, job.video, job.reference) if path and has_video(path)), None)
        if video is None:
            return None
        if self._model is None:
            self._model = PrismAudio.from_pretrained(None, self.options.device)
        return self._model.plan(video)


def is_measured(record: ScoreRecord, scorer: str) -> bool:
    """Whether a file counts in the value over all files; a correlation of two events has no value of its own."""
    score = record.scores.get(scorer)
    return score is not None and (score.value is not None or score.reason == OF_MANY or scorer in record.states)


def mean_and_spread(values: Sequence[float]) -> tuple[float | None, float | None]:
    """Mean and standard deviation; None if undefined or not finite.

    Example:
        >>> mean_and_spread([1.0, 3.0]), mean_and_spread([1.0]), mean_and_spread([1e308, 1e308])
        ((2.0, 1.4142135623730951), (1.0, None), (None, None))
    """
    try:
        mean = statistics.fmean(values) if values else None
        return mean, statistics.stdev(values) if len(values) > 1 else None
    except OverflowError:
        return None, None


def as_numbers(state: dict[str, Any]) -> dict[str, Any] | None:
    """The state of a metric as JSON types; None if it is too large or not finite."""
    tensors = [t for value in state.values() for t in (value if isinstance(value, list) else [value])]
    if sum(tensor.numel() for tensor in tensors) > MAX_NUMBERS or not all(t.isfinite().all() for t in tensors):
        return None
    return {
        name: [tensor.tolist() for tensor in value] if isinstance(value, list) else value.tolist()
        for name, value in state.items()
    }


def from_numbers(numbers: dict[str, Any], scorer: MetricScorer) -> dict[str, Any]:
    """The state of a metric from JSON types."""
    scorer.metric.reset()
    now = scorer.metric.metric_state

    def restored(value: Any, like: Tensor | list[Tensor]) -> Tensor | list[Tensor]:
        if isinstance(like, list):
            return [torch.tensor(item, dtype=torch.float64, device=scorer.metric.device) for item in value]
        return torch.tensor(value, dtype=torch.float64).to(like)

    return {name: restored(value, now[name]) for name, value in numbers.items()}
