"""Weights of rewards that change during training."""

from __future__ import annotations

from abc import ABC, abstractmethod

from prismaudio.checkpoints import Configured
from prismaudio.errors import RecipeError


class RewardWeight(Configured, ABC):
    """The weight of a reward as a function of the update; a number in a recipe is a constant weight."""

    @abstractmethod
    def at(self, update: int) -> float:
        """The weight at an update, counted from 0."""


class LinearWeight(RewardWeight):
    """Linear change from one weight to another, then constant.

    Args:
        start: First weight.
        end: Last weight.
        updates: Updates of the change.
        after: Updates before the change.

    Example:
        >>> [LinearWeight(0.0, 1.0, updates=4, after=2).at(update) for update in (0, 2, 4, 9)]
        [0.0, 0.0, 0.5, 1.0]
    """

    def __init__(self, start: float, end: float, updates: int, after: int = 0) -> None:
        if updates < 1:
            raise RecipeError(f"updates of a LinearWeight is {updates}; expected 1 or more")
        self.start, self.end, self.updates, self.after = start, end, updates, after

    def at(self, update: int) -> float:
        """See :meth:`RewardWeight.at`."""
        share = min(max((update - self.after) / self.updates, 0.0), 1.0)
        return self.start + (self.end - self.start) * share


def weight_at(weight: float | RewardWeight, update: int) -> float:
    """The weight at an update, of a schedule or a number.

    Example:
        >>> weight_at(0.4, 100)
        0.4
    """
    return weight.at(update) if isinstance(weight, RewardWeight) else float(weight)
