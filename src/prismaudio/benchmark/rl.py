"""The reinforcement-learning benchmark: how much computing each method needs to reach a reward, in a small world.

The protocol is the same for all methods: eight classes with a group of 16 each, AdamW, gradients clipped to norm 1, one
update with each rollout, 120 updates; every four updates, 1,024 samples from noise that is always the same are made by
24 deterministic steps and judged exactly. The reward to be reached is four fifths of the way from the base policy's to
that of Flow-GRPO with 24 steps in the end. What a method costs is counted by hooks on the network.
"""

from __future__ import annotations

import json
import statistics
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from multiprocessing import get_context
from typing import TYPE_CHECKING

import torch

from prismaudio.benchmark.report import write_json
from prismaudio.benchmark.rl_methods import METHODS, Method
from prismaudio.benchmark.rl_report import RLReport
from prismaudio.benchmark.rl_training import Course, Trainer
from prismaudio.benchmark.rl_world import PRETRAINING_STEPS, World, pretrained

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

Step = Callable[[str, int, int], None]
EQUAL_RATE = 1e-3
RATES = (3e-4, 1e-3, 3e-3)
BEST_RATES = {"flow_grpo": 3e-3, "recommended": 3e-3}
"""The best of the three in the whole benchmark; the quick one runs no others."""
QUICK = ("flow_grpo", "release", "paper", "recommended")
BASELINE = "flow_grpo"


@dataclass(frozen=True)
class Job:
    """One run: name of the method, settings, learning rate, seed."""

    name: str
    method: Method
    learning_rate: float
    seed: int


@dataclass
class RLBenchmark:
    """Which methods are compared, and for how long.

    Args:
        methods: By name; ``flow_grpo`` must be among them.
        rates: Learning rates of each method, by name; each must have the one at which all are compared.
        seeds: Of the runs.
        updates: Updates of each run.
        budget: Evaluations of the network up to which a run goes on after that.
        processes: Runs at a time, each on one thread.
        pretraining: Steps of flow matching of the base policy.
        kept: Folder of finished runs, of the same version; what it has is not run again. None to keep nothing.
    """

    methods: dict[str, Method]
    rates: dict[str, tuple[float, ...]]
    seeds: Sequence[int] = range(5)
    updates: int = 120
    budget: float = 100_000
    processes: int = 2
    pretraining: int = PRETRAINING_STEPS
    kept: Path | None = None

    @classmethod
    def quick(cls) -> RLBenchmark:
        """What shows the main result in less than three minutes."""
        rates = {name: tuple(sorted({EQUAL_RATE, BEST_RATES.get(name, EQUAL_RATE)})) for name in QUICK}
        return cls({name: METHODS[name] for name in QUICK}, rates, budget=0)

    @classmethod
    def full(cls) -> RLBenchmark:
        """All methods and all learning rates."""
        return cls(METHODS, dict.fromkeys(METHODS, RATES))

    def restricted(self, **settings: object) -> RLBenchmark:
        """The same with other settings."""
        return replace(self, **settings)  # type: ignore[arg-type]

    def run(self, on_step: Step = lambda *_: None) -> RLReport:
        """Run everything.

        Args:
            on_step: Called with what is being done, how much of it is done, and how much there is.
        """
        with _one_thread():
            done = 0

            def pretrain_step() -> None:
                nonlocal done
                done += 1
                if done % 100 == 0:
                    on_step("pretraining", done, self.pretraining)

            trainer = Trainer(World(), pretrained(self.pretraining, pretrain_step))
            courses: dict[tuple[str, float], dict[int, Course]] = {}
            jobs = list(self._jobs())
            for finished, (job, course) in enumerate(self._courses(trainer, jobs), 1):
                courses.setdefault((job.name, job.learning_rate), {})[job.seed] = course
                on_step("runs", finished, len(jobs))
            base = trainer.reward()
        ordered = {(job.name, job.learning_rate): None for job in jobs}
        runs = {key: [courses[key][seed] for seed in self.seeds] for key in ordered}
        final = statistics.fmean(course.final(self.updates) for course in runs[BASELINE, EQUAL_RATE])
        target = base + 0.8 * (final - base)
        meta = {"seeds": list(self.seeds), "updates": self.updates, "torch": torch.__version__}
        return RLReport(runs, base, target, self.updates, EQUAL_RATE, meta)

    def _jobs(self) -> Iterator[Job]:
        """First those at the same learning rate, then the others, the highest first."""
        others = sorted({rate for rates in self.rates.values() for rate in rates} - {EQUAL_RATE}, reverse=True)
        for rate in (EQUAL_RATE, *others):
            for name, method in self.methods.items():
                if rate in self.rates[name]:
                    yield from (Job(name, method, rate, seed) for seed in self.seeds)

    def _courses(self, trainer: Trainer, jobs: list[Job]) -> Iterator[tuple[Job, Course]]:
        """Runs as they come to their end."""
        missing = []
        for job in jobs:
            place = self._place(job)
            if place is not None and place.exists():
                yield job, Course.from_dict(json.loads(place.read_text()))
            else:
                missing.append(job)
        for job, course in self._run(trainer, missing):
            if place := self._place(job):
                write_json(place, asdict(course), finite=False)
            yield job, course

    def _place(self, job: Job) -> Path | None:
        return self.kept and self.kept / f"{job.name}-{job.learning_rate:g}-{job.seed}.json"

    def _run(self, trainer: Trainer, jobs: list[Job]) -> Iterator[tuple[Job, Course]]:
        if self.processes == 1 or len(jobs) < 2:
            for job in jobs:
                yield job, trainer.run(job.method, job.learning_rate, job.seed, self.updates, self.budget)
            return
        pool = ProcessPoolExecutor(self.processes, get_context("spawn"), _start, (self.pretraining,))
        with pool:
            waiting = {pool.submit(_work, job, self.updates, self.budget): job for job in jobs}
            try:
                for future in as_completed(waiting):
                    yield waiting[future], future.result()
            except BaseException:
                pool.shutdown(cancel_futures=True)
                raise


_trainers: list[Trainer] = []


def _start(pretraining: int) -> None:
    torch.set_num_threads(1)
    _trainers.append(Trainer(World(), pretrained(pretraining)))


def _work(job: Job, updates: int, budget: float) -> Course:
    return _trainers[0].run(job.method, job.learning_rate, job.seed, updates, budget)


@contextmanager
def _one_thread() -> Iterator[None]:
    """The same numbers whatever the number of cores; small products gain nothing from more."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
