"""The reinforcement-learning benchmark: how much computing each method needs to reach a reward.

It has two environments, with the same methods and the same report: a small world, where a run takes seconds and every
reward is exact, see :mod:`rl_benchmark.small`, and the studio model with the rewards of the core, see
:mod:`rl_benchmark.studio`. In each the protocol is the same for all methods: AdamW at a constant learning
rate, gradients clipped to norm 1, groups of 16, one update with each rollout. Every few updates samples from noise that
is always the same are made by deterministic steps and scored. The reward to be reached is four fifths of the way from
the base policy's to that of Flow-GRPO in the end. What a method costs is counted by hooks on the network.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from multiprocessing import get_context
from typing import TYPE_CHECKING

import torch

from prismaudio import __version__
from prismaudio.benchmarks.report import write_json
from prismaudio.checkpoints import Configured
from rl_benchmark.learning_curve import LearningCurve
from rl_benchmark.methods import METHODS, STUDIO_METHODS, Method
from rl_benchmark.report import RLReport
from rl_benchmark.small import SmallEnvironment

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from rl_benchmark.environment import Environment

Step = Callable[[str, int, int], None]
EQUAL_RATE = 1e-3
RATES = (3e-4, 1e-3, 3e-3)
QUICK = ("flow_grpo", "release", "paper", "recommended")
QUICK_RATES = {**dict.fromkeys(QUICK, (EQUAL_RATE,)), **dict.fromkeys(("flow_grpo", "recommended"), (EQUAL_RATE, 3e-3))}
"""The one at which all are compared, and of two methods what is their best in the whole benchmark."""
STUDIO_RATE = 1e-4


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
        equal_rate: The learning rate at which all are compared.
        environment: What they are compared on.
        processes: Runs at a time, each on one thread.
        kept: Folder of finished runs; what it has with the same settings is not run again. None to keep nothing.
    """

    methods: dict[str, Method]
    rates: dict[str, tuple[float, ...]]
    seeds: Sequence[int] = range(5)
    updates: int = 120
    budget: float = 100_000
    equal_rate: float = EQUAL_RATE
    environment: Environment = field(default_factory=SmallEnvironment)
    processes: int = 2
    kept: Path | None = None

    @classmethod
    def quick(cls) -> RLBenchmark:
        """What shows the main result in less than three minutes."""
        return cls({name: METHODS[name] for name in QUICK}, QUICK_RATES, budget=0)

    @classmethod
    def full(cls) -> RLBenchmark:
        """All methods and all learning rates."""
        return cls(METHODS, dict.fromkeys(METHODS, RATES))

    @classmethod
    def studio(cls) -> RLBenchmark:
        """The studio model with the rewards of the core: about an hour of two cores."""
        from rl_benchmark.studio import StudioEnvironment  # brings Lightning

        rates: dict[str, tuple[float, ...]] = dict.fromkeys(STUDIO_METHODS, (STUDIO_RATE,))
        return cls(
            STUDIO_METHODS,
            rates,
            range(3),
            updates=32,
            budget=15_000,
            equal_rate=STUDIO_RATE,
            environment=StudioEnvironment(),
        )

    def restricted(self, **settings: object) -> RLBenchmark:
        """The same with other settings."""
        return replace(self, **settings)  # type: ignore[arg-type]

    def run(self, on_step: Step = lambda *_: None) -> RLReport:
        """Run everything.

        Args:
            on_step: Called with what is being done, how much of it is done, and how much there is.
        """
        with _one_thread():
            self.environment.prepare(lambda done, total: on_step("preparing", done, total))
            curves: dict[tuple[str, float], dict[int, LearningCurve]] = {}
            jobs = list(self._jobs())
            for finished, (job, curve) in enumerate(self._curves(jobs), 1):
                curves.setdefault((job.name, job.learning_rate), {})[job.seed] = curve
                on_step("runs", finished, len(jobs))
        ordered = {(job.name, job.learning_rate): None for job in jobs}
        runs = {key: [curves[key][seed] for seed in self.seeds] for key in ordered}
        meta = {
            "tier": self.environment.name,
            "seeds": list(self.seeds),
            "updates": self.updates,
            "weights": dict(self.environment.weights),
            "torch": torch.__version__,
        }
        return RLReport(runs, self.updates, self.equal_rate, self.environment.budgets, meta)

    def _jobs(self) -> Iterator[Job]:
        """First those at the same learning rate, then the others, the highest first."""
        others = sorted({rate for rates in self.rates.values() for rate in rates} - {self.equal_rate}, reverse=True)
        for rate in (self.equal_rate, *others):
            for name, method in self.methods.items():
                if rate in self.rates[name]:
                    yield from (Job(name, method, rate, seed) for seed in self.seeds)

    def _curves(self, jobs: list[Job]) -> Iterator[tuple[Job, LearningCurve]]:
        """Runs as they come to their end."""
        missing = []
        for job in jobs:
            place = self._place(job)
            if place is not None and place.exists():
                yield job, LearningCurve.from_dict(json.loads(place.read_text()))
            else:
                missing.append(job)
        for job, curve in self._run(missing):
            if place := self._place(job):
                write_json(place, asdict(curve), finite=False)
            yield job, curve

    def _place(self, job: Job) -> Path | None:
        """Where a run is kept, by all that it depends on."""
        settings = {name: _described(value) for name, value in vars(job.method).items()}
        protocol = (settings, _described(self.environment), self.updates, self.budget, __version__, torch.__version__)
        key = hashlib.sha256(repr(protocol).encode()).hexdigest()[:8]
        return (
            self.kept and self.kept / f"{self.environment.name}-{job.name}-{job.learning_rate:g}-{job.seed}-{key}.json"
        )

    def _run(self, jobs: list[Job]) -> Iterator[tuple[Job, LearningCurve]]:
        if self.processes == 1 or len(jobs) < 2:
            for job in jobs:
                yield job, self.environment.run(job.method, job.learning_rate, job.seed, self.updates, self.budget)
            return
        pool = ProcessPoolExecutor(self.processes, get_context("spawn"), _start, (self.environment,))
        with pool:
            waiting = {pool.submit(_work, job, self.updates, self.budget): job for job in jobs}
            try:
                for future in as_completed(waiting):
                    yield waiting[future], future.result()
            except BaseException:
                pool.shutdown(cancel_futures=True)
                raise


def _described(value: object) -> object:
    return (type(value).__qualname__, getattr(value, "config", {})) if isinstance(value, Configured) else value


_environments: list[Environment] = []
"""Of this process, as it was started for it."""


def _start(environment: Environment) -> None:
    torch.set_num_threads(1)
    environment.prepare()
    _environments.append(environment)


def _work(job: Job, updates: int, budget: float) -> LearningCurve:
    return _environments[0].run(job.method, job.learning_rate, job.seed, updates, budget)


@contextmanager
def _one_thread() -> Iterator[None]:
    """The same numbers whatever the number of cores; small products gain nothing from more."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
