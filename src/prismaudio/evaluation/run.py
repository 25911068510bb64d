"""Scoring files one after the other: skip what is scored, go on after a failure, keep every score as it comes."""

from __future__ import annotations

import statistics
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from prismaudio.downloads import cache_home
from prismaudio.errors import PrismAudioError
from prismaudio.evaluation.files import installed_scorers, read_plan, score_file
from prismaudio.evaluation.jobs import AUTO, plan_text
from prismaudio.evaluation.results import Csv, JsonLines, Record, ResultsFile
from prismaudio.evaluation.table import show
from prismaudio.inference import PrismAudio
from prismaudio.media.segments import has_video
from prismaudio.scorers import OF_MANY, MetricScorer

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from prismaudio.evaluation.jobs import ScoreJob
    from prismaudio.plan import Plan
    from prismaudio.progress import Reporter

MAX_NUMBERS = 1024
"""States of metrics that have no more are kept with the scores; the others are measured again when a run goes on."""


class ScoreRun:
    """Scores files.

    Args:
        options: The command line.
        sources: The files that are read, which no scores are written over.
    """

    def __init__(self, options: argparse.Namespace, sources: Sequence[Path] = ()) -> None:
        self.options = options
        folder = None if options.no_cache else cache_home() / "prepared"
        self.scorers = installed_scorers(options.rewards, options.metrics, options.device, folder)
        if not self.scorers:
            raise PrismAudioError("nothing scores; name a reward or a metric, see prismaudio plugins list")
        kinds = ((JsonLines, options.json), (Csv, options.csv))
        self.results: list[ResultsFile] = [kind(target, self.scorers, sources) for kind, target in kinds if target]
        self.identities = [scorer.identity for scorer in self.scorers]
        self.records: list[Record] = []
        self._model: PrismAudio | None = None

    def run(self, jobs: Sequence[ScoreJob], reporter: Reporter) -> None:
        """Score files.

        Args:
            jobs: The files.
            reporter: Is told how far it has come, and what failed.
        """
        done = {} if self.options.force else {job.path: found for job in jobs if (found := self._found(job))}
        for results in self.results:
            results.start(job.path for job in jobs if job.path not in done)
        for job in jobs:
            try:
                if job.path in done:
                    self._recall(job, done[job.path])
                    reporter.finish(f"{job.path}: scored already (--force scores it again)")
                else:
                    self._score(job, reporter)
            except Exception as error:  # noqa: BLE001 - one bad file must not stop the others
                reporter.fail(job.path, error)
        for results in self.results:
            results.finish(len(self.records), self.totals(), reporter.failures)

    def show(self) -> None:
        """Print the scores, where no results go to standard output."""
        if self.records and not any(results.path is None for results in self.results):
            show(self.scorers, self.records, self.totals())

    def totals(self) -> dict[str, dict[str, Any]]:
        """What all files come to: rewards by their mean, metrics by their own rule."""
        totals: dict[str, dict[str, Any]] = {}
        for scorer in self.scorers:
            scores = [record.scores[scorer.name] for record in self.records if scorer.name in record.scores]
            values = [score.value for score in scores if score.value is not None]
            counted = len(values) + sum(score.reason == OF_MANY for score in scores)
            total = scorer.total() if isinstance(scorer, MetricScorer) else None
            mean, spread = mean_and_spread(values)
            value = total.value if total is not None else mean
            reason = next((score.reason for score in scores if score.reason not in ("", OF_MANY)), "")
            totals[scorer.name] = {"value": value, "sd": spread, "files": counted}
            if value is None:
                totals[scorer.name]["reason"] = reason or (total.reason if total is not None else "")
        return totals

    def _score(self, job: ScoreJob, reporter: Reporter) -> None:
        begin_s = time.monotonic()
        if job.error:
            raise PrismAudioError(job.error)
        scores, warnings = score_file(job.path, self.scorers, self._plan(job), job.reference)
        states = {
            scorer.name: numbers
            for scorer in self.scorers
            if isinstance(scorer, MetricScorer) and scorer.last is not None and (numbers := as_numbers(scorer.last))
        }
        failed = [f"{job.path}: {name}: {score.reason}" for name, score in scores.items() if score.failed]
        request = job.request(self.identities) + " failed" * bool(failed)  # so the next run tries again
        record = Record(str(job.path), request, scores, states)
        for results in self.results:
            results.add(record)
        self.records.append(record)
        for warning in warnings:
            reporter.say(f"notice: {job.path}: {warning}")
        reporter.failures += failed
        n_scored = sum(score.value is not None for score in scores.values())
        spent_s = time.monotonic() - begin_s
        reporter.finish(f"{job.path}: {n_scored} scores, {len(scores) - n_scored} left out ({spent_s:.1f} s)")

    def _recall(self, job: ScoreJob, record: Record) -> None:
        """Count a file that was scored by an earlier run, and measure again what was too large to keep."""
        lost = []
        for scorer in self.scorers:
            score = record.scores[scorer.name]
            if not isinstance(scorer, MetricScorer) or (score.value is None and score.reason != OF_MANY):
                continue
            try:
                scorer.add(from_numbers(record.states[scorer.name], scorer))
            except Exception:  # noqa: BLE001 - not kept, or a metric of somebody else's cannot take it any more
                lost.append(scorer)
        if lost:
            score_file(job.path, lost, self._plan(job), job.reference)
        self.records.append(record)

    def _found(self, job: ScoreJob) -> Record | None:
        """The scores of a file in all files of scores, if they were made with the same settings."""
        found = [results.find(job.path) for results in self.results]
        if job.error or not found or None in found:
            return None
        try:
            request = job.request(self.identities)
        except (PrismAudioError, OSError):  # which is said when it is scored
            return None
        names = {scorer.name for scorer in self.scorers}
        whole = [record for record in found if record and record.request == request and names <= record.scores.keys()]
        return whole[0] if len(whole) == len(found) else None

    def _plan(self, job: ScoreJob) -> Plan | None:
        if not job.plan:
            return None
        if job.plan != AUTO:
            return read_plan(job.plan if "<" in job.plan else plan_text(Path(job.plan)))
        seen = next((path for path in (job.path, job.reference) if path is not None and has_video(path)), None)
        if seen is None:
            return None
        if self._model is None:
            self._model = PrismAudio.from_pretrained(None, self.options.device)
        return self._model.plan(seen)


def mean_and_spread(values: Sequence[float]) -> tuple[float | None, float | None]:
    """Mean and standard deviation; None where there is none, or it is no number.

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
    """The states of a metric as JSON holds them; None when they are too large for that, or no numbers."""
    tensors = [t for value in state.values() for t in (value if isinstance(value, list) else [value])]
    if sum(tensor.numel() for tensor in tensors) > MAX_NUMBERS or not all(t.isfinite().all() for t in tensors):
        return None
    return {
        name: [tensor.tolist() for tensor in value] if isinstance(value, list) else value.tolist()
        for name, value in state.items()
    }


def from_numbers(numbers: dict[str, Any], scorer: MetricScorer) -> dict[str, Any]:
    """The states of a metric from JSON."""
    scorer.metric.reset()
    now = scorer.metric.metric_state

    def restored(value: Any, like: Tensor | list[Tensor]) -> Tensor | list[Tensor]:
        if isinstance(like, list):
            return [torch.tensor(item, dtype=torch.float64, device=scorer.metric.device) for item in value]
        return torch.tensor(value).to(like)

    return {name: restored(value, now[name]) for name, value in numbers.items()}
