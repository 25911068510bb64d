"""Results of the reinforcement-learning benchmark, as JSON and as tables."""

from __future__ import annotations

import math
import statistics
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from rich.box import SIMPLE_HEAD
from rich.table import Table

from prismaudio.benchmarks.report import write_json

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from rl_benchmark.learning_curve import LearningCurve, Point

BASELINE = "flow_grpo"
RATIOS = {"release": "release", "paper": "paper", "recommended": "recommended"}
Values = list[float | None]


@dataclass
class RLReport:
    """Learning curves of all methods, and their comparison.

    Args:
        runs: Learning curves by method and learning rate, one for each seed.
        updates: Number of updates after which methods are compared.
        equal_rate: The learning rate at which all methods were run.
        budgets: Numbers of network evaluations after which rewards are compared.
        meta: Settings and versions.
    """

    runs: dict[tuple[str, float], list[LearningCurve]]
    updates: int
    equal_rate: float
    budgets: tuple[int, ...]
    meta: dict[str, Any] = field(default_factory=dict)

    @property
    def base(self) -> float:
        """Reward of the base policy."""
        return next(iter(self.runs.values()))[0].points[0].reward

    @property
    def target(self) -> float:
        """The target reward: the base policy's plus 80 % of the final improvement of the baseline."""
        final = statistics.fmean(curve.final(self.updates) for curve in self.runs[BASELINE, self.equal_rate])
        return self.base + 0.8 * (final - self.base)

    @property
    def dimensions(self) -> list[str]:
        """Names of the rewards."""
        return list(next(iter(self.runs.values()))[0].rewards)

    @property
    def methods(self) -> list[str]:
        """Names of the methods, in order."""
        return list(dict.fromkeys(name for name, _ in self.runs))

    def best_rate(self, method: str) -> float | None:
        """The learning rate at which a method reaches the target at the lowest cost.

        None if no rate reaches it in all runs, or only one rate was run.
        """
        costs = {rate: self.cost(method, rate) for name, rate in self.runs if name == method}
        if len(costs) < 2:
            return None
        reached = {rate: cost for rate, cost in costs.items() if cost is not None}
        return min(reached, key=reached.__getitem__) if reached else None

    def cost(self, method: str, rate: float | None, what: str = "nfe") -> float | None:
        """Mean cost of reaching the target; None if a run did not reach it."""
        if (method, rate) not in self.runs or rate is None:
            return None
        reached = [curve.first(self.target) for curve in self.runs[method, rate]]
        return None if None in reached else statistics.fmean(getattr(point, what) for point in reached)

    def ratio(self, method: str, *, best: bool = False, over: str = BASELINE, what: str = "nfe") -> float | None:
        """Cost of another method to reach the target, divided by the cost of this method.

        Args:
            method: Name of this method.
            best: Compare both at their best learning rates instead of the common one.
            over: Name of the other method.
            what: Unit of the cost: ``nfe``, ``cpu_s`` or ``update``.
        """
        mine, others = (self.cost(name, self._rate(name, best=best), what) for name in (method, over))
        return None if mine is None or others is None else others / mine

    def _rate(self, method: str, *, best: bool) -> float | None:
        return self.best_rate(method) if best else self.equal_rate

    def row(self, method: str, rate: float) -> dict[str, Any]:
        """The entry of a method and a learning rate in the JSON file: lists with one number for each seed."""
        curves = self.runs[method, rate]
        reached = [curve.first(self.target) for curve in curves]

        def costs(what: Callable[[Point], float]) -> Values:
            return [None if point is None else round(what(point), 3) for point in reached]

        return {
            "learning_rate": rate,
            "nfe_to_target": costs(lambda point: point.nfe),
            "updates_to_target": costs(lambda point: point.update),
            "cpu_s_to_target": costs(lambda point: point.cpu_s),
            "final": _finite(curve.final(self.updates) for curve in curves),
            "at_nfe": {str(nfe): _finite(curve.at(nfe) for curve in curves) for nfe in self.budgets},
            "rewards": {name: _finite(curve.rewards[name] for curve in curves) for name in self.dimensions},
            "kl": _finite(curve.kl for curve in curves),
            "variance_ratio": _finite(curve.variance_ratio for curve in curves),
        }

    def as_dict(self) -> dict[str, Any]:
        """The content of the JSON file; null if a target was not reached, or a run ended before a budget."""
        best = {name: self.best_rate(name) for name in self.methods}
        ratios = {name: self.ratio(name) for name in RATIOS} | {
            "recommended_best_lr": self.ratio("recommended", best=True),
            "recommended_cpu": self.ratio("recommended", what="cpu_s"),
        }
        others = (name for name in ("best_T10", "best_T10_sum") if name in self.methods)
        ratios |= {f"recommended_over_{name}": self.ratio("recommended", over=name) for name in others}
        return {
            "base": round(self.base, 6),
            "target": round(self.target, 6),
            "equal_lr": {name: self.row(name, self.equal_rate) for name in self.methods},
            "best_lr": {name: None if rate is None else self.row(name, rate) for name, rate in best.items()},
            "all": [{"method": name, **self.row(name, rate)} for name, rate in self.runs],
            "ratio": {name: None if value is None else round(value, 3) for name, value in ratios.items()},
            "meta": self.meta,
        }

    def save(self, path: Path) -> None:
        """Write the JSON file atomically.

        Raises:
            MediaError: The file cannot be written.
        """
        write_json(path, self.as_dict())

    def tables(self) -> list[Table]:
        """Tables for the terminal: costs at the common, the best and the other learning rates, and final rewards."""
        equal = [(name, self.equal_rate) for name in self.methods]
        best = [(name, rate) for name in self.methods if (rate := self.best_rate(name)) is not None]
        others = [key for key in self.runs if key not in equal and key not in best]
        titled = (
            (f"all methods at learning rate {self.equal_rate:g}", equal, False),
            ("each method at its best learning rate", best, True),
            ("other learning rates", others, None),
        )
        tables = [self._costs(title, keys, best=own) for title, keys, own in titled if keys]
        return [
            *tables,
            self._qualities(
                "reward at equal cost; final rewards, KL to the base in nats, and variance relative to the base",
                equal,
            ),
        ]

    def _costs(self, title: str, keys: Sequence[tuple[str, float]], *, best: bool | None) -> Table:
        table = Table(title=f"{title}: cost to reach a reward of {self.target:.3f}", box=SIMPLE_HEAD, pad_edge=False)
        table.add_column("method", no_wrap=True)
        for head in ("rate", "reached", "updates", "1000 NFE", "× fewer", "CPU s", "× less", "final"):
            table.add_column(head, justify="right", no_wrap=True)
        for name, rate in keys:
            row = self.row(name, rate)
            n_reached = len(row["final"]) - row["nfe_to_target"].count(None)
            ratios = (None, None) if best is None else (self.ratio(name, best=best, what=w) for w in ("nfe", "cpu_s"))
            fewer, less = ("-" if ratio is None else f"{ratio:.1f}" for ratio in ratios)
            table.add_row(
                name,
                f"{rate:g}",
                f"{n_reached}/{len(row['final'])}",
                _cell(row["updates_to_target"], "{:.0f}"),
                _cell([None if nfe is None else nfe / 1000 for nfe in row["nfe_to_target"]], "{:.0f}"),
                fewer,
                _cell(row["cpu_s_to_target"], "{:.2f}"),
                less,
                _cell(row["final"], "{:.3f}"),
            )
        return table

    def _qualities(self, title: str, keys: Sequence[tuple[str, float]]) -> Table:
        table = Table(title=title, box=SIMPLE_HEAD, pad_edge=False)
        table.add_column("method", no_wrap=True)
        budgets = [f"at {nfe // 1000}k" for nfe in self.budgets]
        for head in (*budgets, *self.dimensions, "KL", "variance"):
            table.add_column(head, justify="right", no_wrap=True)
        for name, rate in keys:
            row = self.row(name, rate)
            values = [*row["at_nfe"].values(), *row["rewards"].values()]
            kl, variance = _cell(row["kl"], "{:.0f}"), _cell(row["variance_ratio"], "{:.2f}")
            table.add_row(name, *(_cell(column, "{:.2f}") for column in values), kl, variance)
        return table


def _finite(values: Any) -> Values:
    return [round(float(value), 6) if value is not None and math.isfinite(value) else None for value in values]


def _cell(values: Values, form: str) -> str:
    """Mean and standard deviation; ``-`` if a value is missing."""
    present = [value for value in values if value is not None]
    if len(present) < len(values):
        return "-"
    spread = statistics.stdev(present) if len(present) > 1 else 0.0
    return f"{form.format(statistics.fmean(present))} ± {form.format(spread)}"
