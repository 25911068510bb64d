"""The reinforcement-learning benchmark: cost of each method to reach a target reward.

There are two environments, with the same methods and the same report: a toy problem, where a run takes seconds and
rewards are exact, see :mod:`rl_benchmark.small`, and the studio model with the rewards of the core, see
:mod:`rl_benchmark.studio`. The protocol is the same for all methods: AdamW at a constant learning rate, gradients
clipped to norm 1, groups of 16, one update per rollout. Every few updates the policy is evaluated on deterministic
samples from fixed noise. The target reward is the base policy's plus 80 % of the final improvement of Flow-GRPO.
Network evaluations are counted by hooks.
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
"""The common learning rate of all methods, and for two methods also their best one of the full benchmark."""
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
    """Compares methods in an environment.

    Args:
        methods: Methods by name, including ``flow_grpo``.
        rates: Learning rates of each method, by name, including ``equal_rate``.
        seeds: Seeds of the runs.
        updates: Updates of each run.
        budget: Minimum number of network evaluations of each run.
        equal_rate: The learning rate at which all methods are compared.
        environment: The environment.
        processes: Number of parallel runs, each on one thread.
        kept: Folder of finished runs; runs with the same settings are not repeated. None to store nothing.
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
        """The main methods and learning rates, in less than three minutes."""
        return cls({name: METHODS[name] for name in QUICK}, QUICK_RATES, budget=0)

    @classmethod
    def full(cls) -> RLBenchmark:
        """All methods and all learning rates."""
        return cls(METHODS, dict.fromkeys(METHODS, RATES))

    @classmethod
    def studio(cls) -> RLBenchmark:
        """The studio model with the rewards of the core; takes about an hour on two cores."""
        from rl_benchmark.studio import StudioEnvironment  # imports Lightning

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
        """A copy with other settings."""
        return replace(self, **settings)  # type: ignore[arg-type]

    def run(self, on_step: Step = lambda *_: None) -> RLReport:
        """Run all methods.

        Args:
            on_step: Called with (name of the phase, finished steps, total steps).
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
        """Jobs at the common learning rate, then the others, highest rate first."""
        others = sorted({rate for rates in self.rates.values() for rate in rates} - {self.equal_rate}, reverse=True)
        for rate in (self.equal_rate, *others):
            for name, method in self.methods.items():
                if rate in self.rates[name]:
                    yield from (Job(name, method, rate, seed) for seed in self.seeds)

    def _curves(self, jobs: list[Job]) -> Iterator[tuple[Job, LearningCurve]]:
        """Learning curves in the order in which runs finish."""
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
        """File of a finished run, named after a hash of everything that it depends on."""
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
"""The environment of this worker process."""


def _start(environment: Environment) -> None:
    torch.set_num_threads(1)
    environment.prepare()
    _environments.append(environment)


def _work(job: Job, updates: int, budget: float) -> LearningCurve:
    return _environments[0].run(job.method, job.learning_rate, job.seed, updates, budget)


@contextmanager
def _one_thread() -> Iterator[None]:
    """Context with one thread, so that results do not depend on the number of cores."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
