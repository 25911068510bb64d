"""Learning curves of the reinforcement-learning benchmark: rewards and costs of a policy during a run."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor, nn


@dataclass(frozen=True)
class Point:
    """Reward of a policy after some updates, and its cost.

    Args:
        update: Updates so far.
        nfe: Network evaluations so far, counted per sample; a backward pass counts as two.
        cpu_s: CPU time of the updates so far, in seconds.
        reward: Mean weighted reward of the evaluation samples.
    """

    update: float
    nfe: float
    cpu_s: float
    reward: float


@dataclass
class LearningCurve:
    """The rewards of a policy during a run, and its final state.

    Args:
        points: Evaluations every few updates, the first one before training.
        rewards: Final mean of each reward.
        kl: Final KL divergence from the base policy in nats per sample, along fully stochastic trajectories, which is
            an upper bound of that of the samples.
        variance_ratio: Final variance of the samples within their class, relative to that of the base policy.
    """

    points: list[Point] = field(default_factory=list)
    rewards: dict[str, float] = field(default_factory=dict)
    kl: float = 0.0
    variance_ratio: float = 1.0

    @classmethod
    def from_dict(cls, described: dict[str, Any]) -> LearningCurve:
        """Create a curve from the output of :func:`dataclasses.asdict`."""
        return cls(**described | {"points": [Point(**point) for point in described["points"]]})

    def first(self, reward: float) -> Point | None:
        """The point at which a reward was first reached, linearly interpolated; None if it was not reached.

        Example:
            >>> LearningCurve([Point(0, 0, 0.0, 1.0), Point(4, 80, 1.0, 2.0)]).first(1.5)
            Point(update=2.0, nfe=40.0, cpu_s=0.5, reward=1.5)
        """
        for before, after in pairwise(self.points):
            if before.reward < reward <= after.reward:
                share = (reward - before.reward) / (after.reward - before.reward)
                return _between(before, after, share)
        return None

    def final(self, updates: int) -> float:
        """The reward after a number of updates, at which the policy was evaluated."""
        return next(point.reward for point in self.points if point.update == updates)

    def at(self, nfe: float) -> float | None:
        """The reward after a number of network evaluations, interpolated; None if the run ended before."""
        for before, after in pairwise(self.points):
            if after.nfe >= nfe:
                return _between(before, after, (nfe - before.nfe) / (after.nfe - before.nfe)).reward
        return None


def _between(before: Point, after: Point, share: float) -> Point:
    def mixed(name: str) -> float:
        start, end = getattr(before, name), getattr(after, name)
        return start + share * (end - start)

    return Point(mixed("update"), mixed("nfe"), mixed("cpu_s"), mixed("reward"))


class Counter:
    """Counts network evaluations by hooks: 1 for the forward pass of a sample, 2 for its backward pass.

    Args:
        network: The network; its evaluations are counted while ``counting`` is true.
    """

    def __init__(self, network: nn.Module) -> None:
        self.count, self.counting = 0, False
        network.register_forward_hook(self._forward)

    def _forward(self, network: nn.Module, given: tuple[Tensor, ...], velocity: Tensor) -> None:
        if self.counting:
            self.count += len(velocity)
            if velocity.requires_grad:
                velocity.register_hook(self._backward)

    def _backward(self, gradient: Tensor) -> None:
        self.count += 2 * len(gradient)
