"""The learning curve of a run of the reinforcement-learning benchmark, and its cost."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor, nn


@dataclass(frozen=True)
class Point:
    """A point of a learning curve.

    Args:
        update: Number of updates so far.
        nfe: Number of network evaluations so far, counted per sample; a backward pass counts as two.
        cpu_s: CPU seconds of the updates so far.
        reward: Mean weighted reward of the evaluation samples.
    """

    update: float
    nfe: float
    cpu_s: float
    reward: float


@dataclass
class Course:
    """The learning curve of a run.

    Args:
        points: Evaluations of the policy every few updates, starting before the first update.
        rewards: Final mean of each reward.
        kl: Final divergence from the base policy in nats per sample, over whole stochastic trajectories: an upper bound
            of the divergence of the samples.
        variance_ratio: Final within-class variance of the samples, divided by that of the base policy.
    """

    points: list[Point] = field(default_factory=list)
    rewards: dict[str, float] = field(default_factory=dict)
    kl: float = 0.0
    variance_ratio: float = 1.0

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Course:
        """Inverse of :func:`dataclasses.asdict`."""
        return cls(**data | {"points": [Point(**point) for point in data["points"]]})

    def first(self, reward: float) -> Point | None:
        """The first point at which the curve rises to a reward, by linear interpolation; None if it does not.

        Example:
            >>> Course([Point(0, 0, 0.0, 1.0), Point(4, 80, 1.0, 2.0)]).first(1.5)
            Point(update=2.0, nfe=40.0, cpu_s=0.5, reward=1.5)
        """
        for before, after in pairwise(self.points):
            if before.reward < reward <= after.reward:
                share = (reward - before.reward) / (after.reward - before.reward)
                return _between(before, after, share)
        return None

    def final(self, updates: int) -> float:
        """The reward after ``updates`` updates, a multiple of the evaluation interval."""
        return next(point.reward for point in self.points if point.update == updates)

    def at(self, nfe: float) -> float | None:
        """The reward after ``nfe`` network evaluations, by linear interpolation; None if the run ended before."""
        for before, after in pairwise(self.points):
            if after.nfe >= nfe:
                return _between(before, after, (nfe - before.nfe) / (after.nfe - before.nfe)).reward
        return None


def _between(before: Point, after: Point, share: float) -> Point:
    def interpolated(name: str) -> float:
        start, end = getattr(before, name), getattr(after, name)
        return start + share * (end - start)

    return Point(interpolated("update"), interpolated("nfe"), interpolated("cpu_s"), interpolated("reward"))


class Counter:
    """Counts evaluations of a network with hooks: 1 per sample for a forward pass, 2 for a backward pass.

    Args:
        network: The network; evaluations are counted while ``counting`` is True.
    """

    def __init__(self, network: nn.Module) -> None:
        self.count, self.counting = 0, False
        network.register_forward_hook(self._forward)

    def _forward(self, network: nn.Module, inputs: tuple[Tensor, ...], velocity: Tensor) -> None:
        if self.counting:
            self.count += len(velocity)
            if velocity.requires_grad:
                velocity.register_hook(self._backward)

    def _backward(self, gradient: Tensor) -> None:
        self.count += 2 * len(gradient)
