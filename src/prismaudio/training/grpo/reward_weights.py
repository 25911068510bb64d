"""How much each reward counts, as training goes on."""

from __future__ import annotations

from abc import ABC, abstractmethod

from prismaudio.checkpoints import Configured
from prismaudio.errors import RecipeError


class RewardWeight(Configured, ABC):
    """The weight of a reward; a plain number in a recipe is one that stays."""

    @abstractmethod
    def at(self, update: int) -> float:
        """The weight at an update, counted from 0."""


class LinearWeight(RewardWeight):
    """Goes from one weight to another in equal steps, and stays there.

    Args:
        start: Weight at first.
        end: Weight in the end.
        updates: Updates that this takes.
        after: Updates before it begins.

    Example:
        >>> [LinearWeight(0.0, 1.0, updates=4, after=2).at(update) for update in (0, 2, 4, 9)]
        [0.0, 0.0, 0.5, 1.0]
    """

    def __init__(self, start: float, end: float, updates: int, after: int = 0) -> None:
        if updates < 1:
            raise RecipeError(f"a weight cannot change in {updates} updates; expected 1 or more")
        self.start, self.end, self.updates, self.after = start, end, updates, after

    def at(self, update: int) -> float:
        """See :meth:`RewardWeight.at`."""
        share = min(max((update - self.after) / self.updates, 0.0), 1.0)
        return self.start + (self.end - self.start) * share


def weight_at(weight: float | RewardWeight, update: int) -> float:
    """The weight at an update of what may be a plain number.

    Example:
        >>> weight_at(0.4, 100)
        0.4
    """
    return weight.at(update) if isinstance(weight, RewardWeight) else float(weight)
