"""The reinforcement-learning benchmark: the compute that each method needs to reach a target reward.

It has two tiers with the same methods and the same report: a toy problem, where a run takes seconds and every reward
is exact, see :mod:`rl_benchmark.small`, and the studio model with the rewards of the core, see
:mod:`rl_benchmark.studio`. The protocol is the same for all methods: AdamW at a constant learning rate, gradients
clipped to norm 1, groups of 16, one update per rollout. Every few updates the policy is evaluated on samples from
fixed noise with a deterministic sampler. The target reward is four fifths of the way from the reward of the base policy
to the final reward of Flow-GRPO. Hooks on the network count the evaluations.
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
from rl_benchmark.course import Course
from rl_benchmark.methods import METHODS, STUDIO_METHODS, Method
from rl_benchmark.report import RLReport
from rl_benchmark.small import SmallTier

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from rl_benchmark.tier import Tier

Step = Callable[[str, int, int], None]
EQUAL_RATE = 1e-3
RATES = (3e-4, 1e-3, 3e-3)
QUICK = ("flow_grpo", "release", "paper", "recommended")
QUICK_RATES = {**dict.fromkeys(QUICK, (EQUAL_RATE,)), **dict.fromkeys(("flow_grpo", "recommended"), (EQUAL_RATE, 3e-3))}
"""The common learning rate, and for two methods their best one in the full benchmark."""
STUDIO_RATE = 1e-4


@dataclass(frozen=True)
class Job:
    """One run: name and settings of the method, learning rate, seed."""

    name: str
    method: Method
    learning_rate: float
    seed: int


@dataclass
class RLBenchmark:
    """The reinforcement-learning benchmark.

    Args:
        methods: Methods by name, including ``flow_grpo``.
        rates: Learning rates of each method, by name, including ``equal_rate``.
        seeds: Seeds of the runs.
        updates: Minimum number of updates per run.
        budget: Minimum number of network evaluations per run.
        equal_rate: The learning rate at which all methods are compared.
        tier: The task that the methods are compared on.
        processes: Number of parallel runs, each on one thread.
        kept: Folder of finished runs, which are not run again with the same settings; None to save no runs.
    """

    methods: dict[str, Method]
    rates: dict[str, tuple[float, ...]]
    seeds: Sequence[int] = range(5)
    updates: int = 120
    budget: float = 100_000
    equal_rate: float = EQUAL_RATE
    tier: Tier = field(default_factory=SmallTier)
    processes: int = 2
    kept: Path | None = None

    @classmethod
    def quick(cls) -> RLBenchmark:
        """The main result, in less than three minutes."""
        return cls({name: METHODS[name] for name in QUICK}, QUICK_RATES, budget=0)

    @classmethod
    def full(cls) -> RLBenchmark:
        """All methods and all learning rates."""
        return cls(METHODS, dict.fromkeys(METHODS, RATES))

    @classmethod
    def studio(cls) -> RLBenchmark:
        """The studio model with the rewards of the core; about an hour on two cores."""
        from rl_benchmark.studio import StudioTier  # imports Lightning

        rates: dict[str, tuple[float, ...]] = dict.fromkeys(STUDIO_METHODS, (STUDIO_RATE,))
        return cls(
            STUDIO_METHODS, rates, range(3), updates=32, budget=15_000, equal_rate=STUDIO_RATE, tier=StudioTier()
        )

    def restricted(self, **settings: object) -> RLBenchmark:
        """A copy with other settings."""
        return replace(self, **settings)  # type: ignore[arg-type]

    def run(self, on_step: Step = lambda *_: None) -> RLReport:
        """Run the benchmark.

        Args:
            on_step: Called with (name of the stage, steps done, total).
        """
        with _one_thread():
            self.tier.prepare(lambda done, total: on_step("preparing", done, total))
            courses: dict[tuple[str, float], dict[int, Course]] = {}
            jobs = list(self._jobs())
            for finished, (job, course) in enumerate(self._courses(jobs), 1):
                courses.setdefault((job.name, job.learning_rate), {})[job.seed] = course
                on_step("runs", finished, len(jobs))
        ordered = {(job.name, job.learning_rate): None for job in jobs}
        runs = {key: [courses[key][seed] for seed in self.seeds] for key in ordered}
        meta = {
            "tier": self.tier.name,
            "seeds": list(self.seeds),
            "updates": self.updates,
            "weights": dict(self.tier.weights),
            "torch": torch.__version__,
        }
        return RLReport(runs, self.updates, self.equal_rate, self.tier.budgets, meta)

    def _jobs(self) -> Iterator[Job]:
        """All runs: first those at the common learning rate, then the others in descending order."""
        others = sorted({rate for rates in self.rates.values() for rate in rates} - {self.equal_rate}, reverse=True)
        for rate in (self.equal_rate, *others):
            for name, method in self.methods.items():
                if rate in self.rates[name]:
                    yield from (Job(name, method, rate, seed) for seed in self.seeds)

    def _courses(self, jobs: list[Job]) -> Iterator[tuple[Job, Course]]:
        """Learning curves of the runs as they finish."""
        missing = []
        for job in jobs:
            path = self._results_path(job)
            if path is not None and path.exists():
                yield job, Course.from_dict(json.loads(path.read_text()))
            else:
                missing.append(job)
        for job, course in self._run(missing):
            if path := self._results_path(job):
                write_json(path, asdict(course), finite=False)
            yield job, course

    def _results_path(self, job: Job) -> Path | None:
        """Results file of a run, named by a hash of all its settings."""
        settings = {name: _settings_of(value) for name, value in vars(job.method).items()}
        protocol = (settings, _settings_of(self.tier), self.updates, self.budget, __version__, torch.__version__)
        key = hashlib.sha256(repr(protocol).encode()).hexdigest()[:8]
        return self.kept and self.kept / f"{self.tier.name}-{job.name}-{job.learning_rate:g}-{job.seed}-{key}.json"

    def _run(self, jobs: list[Job]) -> Iterator[tuple[Job, Course]]:
        if self.processes == 1 or len(jobs) < 2:
            for job in jobs:
                yield job, self.tier.run(job.method, job.learning_rate, job.seed, self.updates, self.budget)
            return
        pool = ProcessPoolExecutor(self.processes, get_context("spawn"), _init_worker, (self.tier,))
        with pool:
            pending = {pool.submit(_run_job, job, self.updates, self.budget): job for job in jobs}
            try:
                for future in as_completed(pending):
                    yield pending[future], future.result()
            except BaseException:
                pool.shutdown(cancel_futures=True)
                raise


def _settings_of(value: object) -> object:
    return (type(value).__qualname__, getattr(value, "config", {})) if isinstance(value, Configured) else value


_tiers: list[Tier] = []
"""The tier of this worker process."""


def _init_worker(tier: Tier) -> None:
    torch.set_num_threads(1)
    tier.prepare()
    _tiers.append(tier)


def _run_job(job: Job, updates: int, budget: float) -> Course:
    return _tiers[0].run(job.method, job.learning_rate, job.seed, updates, budget)


@contextmanager
def _one_thread() -> Iterator[None]:
    """Use one thread: results do not depend on the number of cores, and small products gain nothing from more."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
