"""Building chain-of-thought data: clips are read, their plans written, gated and scored, and appended as rows."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeVar, runtime_checkable

from prismaudio.cot.rows import VALID, CotRow, RowFolder
from prismaudio.cot.strategies import COLUMNS
from prismaudio.cot.writers import ManifestPlans, Source, Writer, Written
from prismaudio.data.clips import read_whole
from prismaudio.data.manifest import FILES
from prismaudio.data.read_ahead import of_one_file, read_ahead
from prismaudio.data.writing import source_hash
from prismaudio.errors import (
    DataError,
    MediaError,
    NotApplicableError,
    PlanError,
    PrismAudioError,
    one_line,
    print_traceback,
    with_class,
)
from prismaudio.media.files import relative
from prismaudio.media.threads import MediaThreads
from prismaudio.plan import Plan
from prismaudio.scorers import RewardScorer, Segment, evaluate
from prismaudio.types import FrameSpec, require
from prismaudio.untrusted import escaped

if TYPE_CHECKING:
    from prismaudio.components import Dimension
    from prismaudio.cot.gates import Gate
    from prismaudio.data.manifest import ManifestEntry
    from prismaudio.progress import Reporter
    from prismaudio.types import Clip

COSTS = ("asked", "prompt_tokens", "tokens", "seconds")
"""What origins record about questions, summed over rows."""
RATE_HZ = 44_100
"""Sample rate at which gates and rewards are given the sound."""
MAX_UNANSWERED = 8
"""Number of consecutive clips without an answer after which no further ones are asked about."""
DROPPED = ("id", "features", "latents")
"""Columns that rows do not keep: features of other texts would be trained on instead of the plans."""
SHOWN_S = 10.0
"""Seconds between lines about the progress."""
NO_SECOND = "it compares two samplings of a clip; ask for a second one with --samples 2"
T = TypeVar("T")


@runtime_checkable
class ComparesPlans(Protocol):
    """A gate that compares two plans of a clip, which one model wrote with different seeds."""

    def check_pair(self, first: Plan, second: Plan) -> str | None:
        """In what they differ; None if they agree."""


@dataclass(frozen=True)
class CheckResult:
    """What gates and rewards say about a plan; see :class:`CotRow`."""

    gates: dict[str, str | None] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)
    scores: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Checks:
    """The gates and the rewards that plans are checked with.

    Args:
        gates: The gates by name.
        rewards: The rewards, as scorers.
    """

    gates: Mapping[str, Gate] = field(default_factory=dict)
    rewards: Sequence[RewardScorer] = ()

    def description(self) -> dict[str, Any]:
        """The classes and arguments of gates and rewards, as JSON types."""
        return {
            "gates": {name: dict(gate.config) for name, gate in self.gates.items()},
            "rewards": {scorer.name: dict(scorer.reward.config) for scorer in self.rewards},
        }

    def apply(self, clip: Clip, written: Written, second: Plan | None) -> CheckResult:
        """Check and score the plan of a clip.

        Args:
            clip: The clip, with its sound.
            written: What was written about it.
            second: The plan of a second sampling; None if there is none.
        """
        gates: dict[str, str | None] = {VALID: plan_problem(written.plan, clip.duration_s)}
        skipped: dict[str, str] = {}
        for name, gate in self.gates.items():
            try:
                require(gate.needs, clip.has | {"plan"})
                if isinstance(gate, ComparesPlans):
                    if second is None:
                        raise NotApplicableError(NO_SECOND)
                    gates[name] = gate.check_pair(written.plan, second)
                else:
                    gates[name] = gate.check(clip, written.plan, written.cot)
            except PrismAudioError as error:  # it does not apply, or its weights are not there
                skipped[name] = one_line(error)
            except Exception as error:  # noqa: BLE001 - a gate that fails lets nothing pass
                print_traceback(error)
                gates[name] = f"the gate failed: {with_class(error, 200)}"
        # the real sound is what is scored, so it is no reference
        scored = replace(clip, audio=None, sample_rate_hz=None)
        scores = {}
        if clip.audio is not None and clip.sample_rate_hz is not None:
            segment = Segment(clip.audio, clip.sample_rate_hz, scored, written.plan)
            (found,) = evaluate([[segment]], self.rewards)
            scores = {name: round(score.value, 6) for name, score in found.items() if score.value is not None}
            skipped |= {name: score.reason for name, score in found.items() if score.value is None}
        return CheckResult(gates, skipped, scores)


def plan_problem(plan: Plan, duration_s: float) -> str | None:
    """Why a plan cannot be trained on; None if it can."""
    if not any(plan.values()):
        return "there is no section"
    try:
        plan.check(duration_s)
    except PlanError as error:
        return one_line(error)
    return None


class CotBuild:
    """Writes the rows of clips to a folder.

    Args:
        writer: Writes the chains of thought.
        second: Writes them a second time, for gates that compare two plans; None for no second time.
        checks: Gates and scores them.
        dimensions: The dimensions of the sections.
        folder: Where the rows are written.
        reporter: Shows the progress.
        frames: Rate and size of the frames that are read.

    Attributes:
        failures: Why clips have no row, by id; a second run tries again.
        waiting: Why models have not answered about clips, by id; a second run asks again.
    """

    def __init__(
        self,
        writer: Writer,
        second: Writer | None,
        checks: Checks,
        dimensions: Sequence[Dimension],
        folder: RowFolder,
        reporter: Reporter,
        frames: FrameSpec,
    ) -> None:
        self.writer, self.second, self.checks, self.dimensions = writer, second, checks, list(dimensions)
        self.folder, self.reporter, self.frames = folder, reporter, frames
        self.failures: dict[str, str] = {}
        self.waiting: dict[str, str] = {}
        self.n_written = 0
        self._n_unanswered = 0
        self._shown_s = time.monotonic()

    def run(self, entries: Sequence[ManifestEntry], workers: int = 0, batch_size: int = 1) -> None:
        """Write the rows of clips.

        Args:
            entries: The clips.
            workers: Threads that read clips ahead.
            batch_size: Clips that models are asked about together.

        Raises:
            PrismAudioError: A model cannot be asked, or rows cannot be written; those before are kept.
        """
        with (
            MediaThreads(workers) as threads,
            closing(read_ahead(of_one_file(entries), self._read, threads, workers + batch_size)) as outcomes,
        ):
            for batch in _batches(self._readable(outcomes), batch_size):
                self._build(batch)
                if self._n_unanswered >= MAX_UNANSWERED:
                    reason = list(self.waiting.values())[-1]
                    raise PrismAudioError(f"the last {self._n_unanswered} clips got no answer: {reason}")

    def _read(self, entry: ManifestEntry) -> Source:
        return Source(entry, read_whole(entry, self.frames, RATE_HZ))

    def _readable(self, outcomes: Iterable[tuple[ManifestEntry, Source | Exception]]) -> Iterator[Source]:
        for entry, outcome in outcomes:
            if isinstance(outcome, Exception):
                self._fail(entry, outcome)
            else:
                yield outcome

    def _build(self, batch: Sequence[Source]) -> None:
        """Write the rows of a batch; if that fails because of a clip, of each of its clips alone."""
        try:
            written = self.writer.write(batch, self.dimensions)
            again = None if self.second is None else self.second.write(batch, self.dimensions)
        except Exception as error:
            of_a_clip = not isinstance(error, PrismAudioError) or isinstance(error, (PlanError, MediaError, DataError))
            if not of_a_clip:
                raise
            if len(batch) == 1:
                self._fail(batch[0].entry, error)
            else:
                for source in batch:
                    self._build([source])
            return
        for index, source in enumerate(batch):
            self._keep(source, written[index], None if again is None else again[index])

    def _keep(self, source: Source, written: Written, again: Written | None) -> None:
        """Append the row of a clip, unless a question about it has no answer."""
        name, request = source.entry.id, request_of(source.entry, self.writer)
        if reason := written.unanswered or ("" if again is None else again.unanswered):
            self._n_unanswered += 1
            self.waiting[name] = escaped(reason)
            self.folder.append({"id": name, "request": request, "waiting": self.waiting[name]})
            self.reporter.finish(f"no answer about {name}: {self.waiting[name]}")
            return
        self._n_unanswered = 0
        checked = self.checks.apply(source.clip, written, None if again is None else again.plan)
        origins = dict(written.plan.origins)
        if written.cot:
            origins["cot"] = dict(written.origin)
        if again is not None:
            origins["second"] = {"sections": dict(again.plan), **costs_of([again.origin, *again.plan.origins.values()])}
        row = CotRow(
            id=name,
            clip=columns_of(source.entry, self.folder.folder, self._sections),
            duration_s=round(source.clip.duration_s, 6),
            sections=dict(written.plan),
            cot=written.cot,
            origins=origins,
            warnings=list(written.plan.warnings),
            gates=checked.gates,
            skipped=checked.skipped,
            scores=checked.scores,
            request=request,
        )
        self.folder.append(row)
        self.n_written += 1
        self.reporter.count(video_s=source.clip.duration_s)
        if time.monotonic() - self._shown_s > SHOWN_S:
            self._shown_s = time.monotonic()
            shown = f"[{self.reporter.done}/{self.reporter.total}] {self.reporter.rate()}"
            self.reporter.write(f"{shown}, {self.reporter.time_left()} left")

    @property
    def _sections(self) -> list[str]:
        return [dimension.name for dimension in self.dimensions]

    def _fail(self, entry: ManifestEntry, error: Exception) -> None:
        print_traceback(error)
        self.failures[entry.id] = escaped(one_line(error))
        request = request_of(entry, self.writer)
        self.folder.append({"id": entry.id, "request": request, "failed": self.failures[entry.id]})
        self.reporter.finish(f"skipped {entry.id}: {self.failures[entry.id]}")


def request_of(entry: ManifestEntry, writer: Writer) -> str:
    """Hash of the files, the times and the texts of a clip that its row is made from."""
    plans = entry.plans if isinstance(writer, ManifestPlans) else ()
    return source_hash(replace(entry, split="", plans=plans))


def columns_of(entry: ManifestEntry, folder: Path, sections: Sequence[str]) -> dict[str, Any]:
    """The columns of a clip that rows keep, with paths from a folder."""
    kept = {name: value for name, value in entry.columns.items() if name not in (*DROPPED, *COLUMNS, *sections)}
    paths = {name: relative(path, folder) for name in FILES if name in kept and (path := getattr(entry, name))}
    return {name: paths.get(name, value) for name, value in kept.items() if value not in (None, "")}


def _batches(items: Iterable[T], size: int) -> Iterator[list[T]]:
    rest = iter(items)
    while batch := list(islice(rest, size)):
        yield batch


def costs_of(origins: Iterable[Mapping[str, Any]]) -> dict[str, float]:
    """What origins record about questions, summed."""
    found = [{cost: origin.get(cost) or 0 for cost in COSTS} for origin in origins]
    return {cost: round(sum(one[cost] for one in found), 3) for cost in COSTS}
