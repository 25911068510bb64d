"""The plan benchmark: quality of the plans of planners, their time and their tokens."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from statistics import fmean
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from prismaudio import __version__
from prismaudio.benchmarks.report import Report
from prismaudio.errors import PlanError, PrismAudioError, UnknownNameError, print_traceback, with_class
from prismaudio.metrics.plans import METRICS, PlanReference, PlanScore
from prismaudio.plan import Plan
from prismaudio.planners.base import Planner
from prismaudio.types import Clip, FrameSpec

if TYPE_CHECKING:
    from prismaudio.components import Dimension
    from prismaudio.encoders.base import Encoder
    from prismaudio.plan.nouns import Nouns

COSTS = ("failed", "asked", "seconds", "prompt_tokens", "tokens")
COLUMNS = (*METRICS, *COSTS)
MAX_REASONS = 20
"""Maximum number of failures of a planner whose reasons are reported."""
Step = Callable[[int, int], None]


@dataclass(frozen=True, eq=False)
class PlanCase:
    """A clip of the benchmark.

    Args:
        id: Name of the clip.
        reference: What its plans are compared with.
        read: Reads or renders the clip at a frame rate and size.
    """

    id: str
    reference: PlanReference
    read: Callable[[FrameSpec], Clip]


@dataclass(frozen=True, eq=False)
class PlanRow:
    """A planner to measure.

    Args:
        planner: The planner.
        frames: Frame rate and size of its clips; None for a planner that sees no frames and costs nothing.
    """

    planner: Planner
    frames: FrameSpec | None = None


class KnownPlans(Planner):
    """Returns a known plan for each clip, such as the true one.

    Args:
        plans: The plans by the names of the clips.
    """

    def __init__(self, plans: Mapping[str, Plan]) -> None:
        self.plans = plans

    def plan(self, clip: Clip, dimensions: Sequence[Dimension], given: str | Plan | None = None) -> Plan:
        """The plan of the clip."""
        return self.plans[clip.id]


@dataclass
class PlanQuality:
    """Measures planners on clips: the values of :class:`prismaudio.metrics.plans.PlanScore`, and the costs of a clip.

    ``failed`` is the number of clips for which a planner raised an error or wrote no section; their plans count as
    empty. ``seconds`` is the wall time of a clip. ``asked`` is how often a model was asked for a section,
    ``prompt_tokens`` and ``tokens`` what it read and wrote for all sections of a clip, as
    :attr:`prismaudio.plan.Plan.origins` states for those that were written; NaN for planners that ask no model.

    Args:
        dimensions: The dimensions of the plans.
        nouns: Known nouns, see :class:`prismaudio.metrics.plans.PlanScore`.
        embed: Features of nouns, see there.
        batch_size: Number of clips that a planner plans together.
    """

    dimensions: Sequence[Dimension]
    nouns: Nouns | None = None
    embed: Callable[[list[str]], Tensor] | None = None
    batch_size: int = 1
    _failures: dict[str, list[str]] = field(default_factory=dict)

    @torch.no_grad()
    def run(self, rows: Mapping[str, PlanRow], cases: Sequence[PlanCase], on_step: Step = lambda *_: None) -> Report:
        """Measure planners.

        Args:
            rows: The planners by name.
            cases: The clips.
            on_step: Called with (plans written, total).
        """
        names = tuple(dimension.name for dimension in self.dimensions)
        scores = {name: PlanScore(self.nouns, self.embed, names) for name in rows}
        costs: dict[str, dict[str, list[float]]] = {name: {cost: [] for cost in COSTS} for name in rows}
        self._failures = {name: [] for name in rows}
        done = 0
        for batch in _batches(cases, self.batch_size):
            clips: dict[FrameSpec, list[Clip | PrismAudioError]] = {}
            for name, row in rows.items():
                plans = self._write(name, row, batch, clips, costs[name])
                scores[name].update(plans, [case.reference for case in batch])
                done += len(batch)
                on_step(done, len(rows) * len(cases))
        report = Report(COLUMNS, {name: {} for name in rows})
        for name in rows if cases else ():
            values = scores[name].as_dict()
            values |= {cost: fmean(found) if found else math.nan for cost, found in costs[name].items()}
            values["failed"] = math.fsum(costs[name]["failed"])
            for column, value in values.items():
                report.add(name, column, value)
        failures = {name: reasons[:MAX_REASONS] for name, reasons in self._failures.items() if reasons}
        report.meta = {
            "clips": len(cases),
            "failures": failures,
            "versions": {"prismaudio": __version__, "torch": torch.__version__, "python": sys.version.split()[0]},
        }
        return report

    def _write(
        self,
        name: str,
        row: PlanRow,
        cases: Sequence[PlanCase],
        clips: dict[FrameSpec, list[Clip | PrismAudioError]],
        costs: dict[str, list[float]],
    ) -> list[Plan | None]:
        """The plans of a batch; None for those that failed."""
        seen: list[Clip | PrismAudioError] = [Clip(case.id, case.reference.duration_s) for case in cases]
        if row.frames is not None:
            if row.frames not in clips:
                clips[row.frames] = [_read(case, row.frames) for case in cases]
            seen = clips[row.frames]
        start_s = time.perf_counter()
        written = self._plans(row.planner, [clip for clip in seen if isinstance(clip, Clip)])
        seconds = (time.perf_counter() - start_s) / len(seen)
        plans: list[Plan | None] = []
        for case, clip in zip(cases, seen, strict=True):
            plan = next(written) if isinstance(clip, Clip) else clip
            if not isinstance(plan, Plan):
                self._failures[name].append(f"{case.id}: {with_class(plan)}")
            plans.append(plan if isinstance(plan, Plan) else None)
            costs["failed"].append(float(plans[-1] is None))
            costs["seconds"] += [] if row.frames is None else [seconds]
            for cost, of in (("asked", fmean), ("prompt_tokens", math.fsum), ("tokens", math.fsum)):
                origins = plan.origins.values() if isinstance(plan, Plan) else ()
                stated = [float(origin[cost]) for origin in origins if cost in origin]
                costs[cost] += [of(stated)] if stated else []
        return plans

    def _plans(self, planner: Planner, clips: Sequence[Clip]) -> Iterator[Plan | Exception]:
        """The plan of each clip, or why there is none."""
        try:
            plans = planner.plan_batch(clips, self.dimensions)
        except Exception as error:  # noqa: BLE001 - a planner may raise anything, and the others are still measured
            print_traceback(error)
            each = (self._plans(planner, [clip]) for clip in clips)
            return iter([error]) if len(clips) == 1 else iter([next(plan) for plan in each])
        return iter([plan if any(plan.values()) else PlanError(_reason(plan)) for plan in plans])


def _read(case: PlanCase, frames: FrameSpec) -> Clip | PrismAudioError:
    try:
        return case.read(frames)
    except PrismAudioError as error:
        return error


def _reason(plan: Plan) -> str:
    return "; ".join(plan.warnings) or "it wrote no section"


def _batches(cases: Sequence[PlanCase], size: int) -> Iterator[list[PlanCase]]:
    waiting = iter(cases)
    while batch := list(islice(waiting, size)):
        yield batch


def shuffled(plans: Mapping[str, Plan]) -> dict[str, Plan]:
    """The plan of the next clip for each clip, and the first one's for the last.

    Example:
        >>> a, b = Plan({"semantic": "A dog barks."}), Plan({"semantic": "A car passes."})
        >>> shuffled({"a": a, "b": b})["a"]["semantic"]
        'A car passes.'
    """
    names = list(plans)
    return {name: plans[other] for name, other in zip(names, [*names[1:], *names[:1]], strict=True)}


def noun_embedder(encoder: Encoder) -> Callable[[list[str]], Tensor]:
    """A function that computes the features ``(n, dim)`` of nouns with a text encoder: the mean over their tokens.

    Raises:
        UnknownNameError: It encodes no text.
    """
    if not encoder.reads_plan or encoder.rate_hz is not None:
        raise UnknownNameError(f"{type(encoder).__name__} encodes no text; expected a text encoder")

    def embed(nouns: list[str]) -> Tensor:
        plans = [Plan({"semantic": noun}) for noun in nouns]
        with torch.no_grad():
            features = encoder.encode_batch([Clip(noun, 1.0) for noun in nouns], plans)
        return torch.stack([item.float().mean(0).cpu() for item in features])

    return embed


def unique_names(names: Iterable[str]) -> list[str]:
    """Names with a number after those that occur before.

    Example:
        >>> unique_names(["VlmPlanner", "VlmPlanner", "ApiPlanner"])
        ['VlmPlanner', 'VlmPlanner 2', 'ApiPlanner']
    """
    found: list[str] = []
    counts: dict[str, int] = {}
    for name in names:
        counts[name] = counts.get(name, 0) + 1
        found.append(name if counts[name] == 1 else f"{name} {counts[name]}")
    return found
