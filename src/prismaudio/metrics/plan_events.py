"""Agreement of the events of two plans."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torchmetrics import Metric

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from prismaudio.plan import Plan

Moment = tuple[str, float]


class PlanEventF1(Metric):
    """F1 score of events: the same noun within a tolerance in time.

    Args:
        tolerance_s: Maximum time difference of two matched events, in seconds.

    Example:
        >>> from prismaudio.plan import Plan
        >>> metric = PlanEventF1()
        >>> a, b = (Plan({"temporal": f"The dog sounds at {t} s and 3 s."}) for t in ("1.00", "1.20"))
        >>> metric.update([a], [b])
        >>> round(metric.compute().item(), 2)
        0.5
    """

    higher_is_better = True
    matched: Tensor
    counted: Tensor

    def __init__(self, tolerance_s: float = 0.05) -> None:
        super().__init__()
        self.tolerance_s = tolerance_s
        self.add_state("matched", torch.tensor(0.0), dist_reduce_fx="sum")
        self.add_state("counted", torch.tensor(0.0), dist_reduce_fx="sum")

    def update(self, plans: Sequence[Plan], references: Sequence[Plan]) -> None:
        """Compare plans with reference plans, pair by pair."""
        for plan, reference in zip(plans, references, strict=True):
            found, true = _moments(plan), _moments(reference)
            self.counted = self.counted + len(found) + len(true)
            for what, time_s in sorted(true, key=lambda m: m[1]):
                near = [m for m in found if m[0] == what and abs(m[1] - time_s) <= self.tolerance_s + 1e-6]
                if near:
                    found.remove(min(near, key=lambda m: abs(m[1] - time_s)))
                    self.matched = self.matched + 1

    def compute(self) -> Tensor:
        """Twice the number of matches over the number of events of both; 0 without events."""
        return 2 * self.matched / self.counted.clamp_min(1)


def _moments(plan: Plan) -> list[Moment]:
    return [(source.what, time_s) for source in plan.story.sources for time_s in source.onsets_s]
