"""Advantages: how much better a candidate is than the others of its group, from the rewards of all dimensions."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor

from prismaudio.checkpoints import Configured
from prismaudio.errors import PrismAudioError

if TYPE_CHECKING:
    from collections.abc import Mapping

FLOOR = 1e-4
"""Added to every standard deviation, as in published code."""


class AdvantageEstimator(Configured, ABC):
    """Maps the rewards of whole groups to advantages; a subclass computes the contribution of each reward.

    Args:
        limit: Advantages are clamped to ``-limit .. limit``.
    """

    def __init__(self, limit: float = 5.0) -> None:
        self.limit = limit

    @abstractmethod
    def contributions(
        self, rewards: Mapping[str, Tensor], groups: Tensor, weights: Mapping[str, float]
    ) -> dict[str, Tensor]:
        """Contribution of each reward to the advantages, ``(batch,)`` each; the advantages are their sum.

        Args:
            rewards: Rewards ``(batch,)`` by name, float64, higher is better.
            groups: Group of each row, ``(batch,)``, numbered from 0 without gaps.
            weights: Weight of each reward, by the same names.
        """

    def estimate(self, rewards: Mapping[str, Tensor], groups: Tensor, weights: Mapping[str, float]) -> Tensor:
        """Advantages ``(batch,)`` float32; 0 where all candidates of a group are equally good.

        Args:
            rewards: Rewards ``(batch,)`` by name, higher is better, finite.
            groups: Group of each row, ``(batch,)``, any numbers; groups must be complete.
            weights: Weight of each reward, by the same names.
        """
        total = torch.stack(list(self._contributions(rewards, groups, weights).values())).sum(0)
        return total.clamp(-self.limit, self.limit).float()

    def shares(self, rewards: Mapping[str, Tensor], groups: Tensor, weights: Mapping[str, float]) -> dict[str, float]:
        """Share of each reward in the mean absolute advantage; shares sum to 1, or are 0 if every group is flat."""
        sizes = {name: float(part.abs().mean()) for name, part in self._contributions(rewards, groups, weights).items()}
        whole = sum(sizes.values())
        return {name: size / whole if whole else 0.0 for name, size in sizes.items()}

    def _contributions(
        self, rewards: Mapping[str, Tensor], groups: Tensor, weights: Mapping[str, float]
    ) -> dict[str, Tensor]:
        if set(rewards) != set(weights) or not rewards:
            raise PrismAudioError(
                f"there are weights for {sorted(weights)}, but rewards are {sorted(rewards)}; expected the same names"
            )
        numbered = torch.unique(groups, return_inverse=True)[1]
        return self.contributions({name: reward.double() for name, reward in rewards.items()}, numbered, weights)


class WeightedSumAdvantage(AdvantageEstimator):
    """The weighted sum of the rewards minus its mean over the group, divided by a standard deviation.

    Args:
        spread: Which standard deviation: of the ``"group"`` (GRPO, the paper), of the whole ``"batch"`` (Flow-GRPO, the
            released code), or ``"none"``, no division (Dr.GRPO).
        limit: Advantages are clamped to ``-limit .. limit``.

    Source:
        PrismAudio, section 3: group-relative advantage of the weighted rewards. With ``"batch"`` and ``"none"`` the
        weights depend on the scales of the rewards.

    Example:
        >>> rewards, groups = {"semantic": torch.tensor([0.0, 1.0, 5.0, 5.0])}, torch.tensor([0, 0, 1, 1])
        >>> WeightedSumAdvantage("none").estimate(rewards, groups, {"semantic": 2.0}).tolist()
        [-1.0, 1.0, 0.0, 0.0]
    """

    def __init__(self, spread: Literal["group", "batch", "none"] = "group", limit: float = 5.0) -> None:
        super().__init__(limit)
        self.spread = spread

    def contributions(
        self, rewards: Mapping[str, Tensor], groups: Tensor, weights: Mapping[str, float]
    ) -> dict[str, Tensor]:
        """See :meth:`AdvantageEstimator.contributions`."""
        parts = {name: weights[name] * centred(reward, groups) for name, reward in rewards.items()}
        if self.spread == "none":
            return parts
        total = torch.stack([weights[name] * reward for name, reward in rewards.items()]).sum(0)
        spread = group_std(total, groups) if self.spread == "group" else total.std(correction=0)
        return {name: part / (spread + FLOOR) for name, part in parts.items()}


class DecoupledAdvantage(AdvantageEstimator):
    """Each reward is normalized over the group by itself, then weighted, so weights do not depend on reward scales.

    Args:
        whiten: Normalize the sum to standard deviation 1 over the batch (GDPO); otherwise it scales with the weights
            (MixGRPO).
        limit: Advantages are clamped to ``-limit .. limit``.

    Source:
        MixGRPO (2507.21802); GDPO (2601.05242).
    """

    def __init__(self, whiten: bool = False, limit: float = 5.0) -> None:  # noqa: FBT001, FBT002 - a recipe's key
        super().__init__(limit)
        self.whiten = whiten

    def contributions(
        self, rewards: Mapping[str, Tensor], groups: Tensor, weights: Mapping[str, float]
    ) -> dict[str, Tensor]:
        """See :meth:`AdvantageEstimator.contributions`."""
        parts = {
            name: weights[name] * centred(reward, groups) / (group_std(reward, groups) + FLOOR)
            for name, reward in rewards.items()
        }
        if not self.whiten:
            return parts
        spread = torch.stack(list(parts.values())).sum(0).std(correction=0)  # their mean is 0 already
        return {name: part / (spread + FLOOR) for name, part in parts.items()}


def centred(values: Tensor, groups: Tensor) -> Tensor:
    """Values ``(batch,)`` minus the mean of their group; exactly 0 where all values of a group are equal.

    Args:
        values: Values ``(batch,)``.
        groups: Group of each, ``(batch,)``, numbered from 0.
    """
    n_groups = int(groups.max()) + 1
    lowest = values.new_zeros(n_groups).scatter_reduce(0, groups, values, "amin", include_self=False)
    above = values - lowest[groups]
    return above - _group_mean(above, groups)[groups]


def group_std(values: Tensor, groups: Tensor) -> Tensor:
    """Population standard deviation of the group of each value, ``(batch,)``, as published."""
    return _group_mean(centred(values, groups).square(), groups).sqrt()[groups]


def std_within_groups(values: Tensor, groups: Tensor) -> float:
    """Population standard deviation within a group, mean over the groups; NaN without values.

    Args:
        values: Values ``(batch,)``.
        groups: Group of each, ``(batch,)``, any numbers.

    Example:
        >>> std_within_groups(torch.tensor([1.0, 3.0, 5.0, 5.0]), torch.tensor([7, 7, 9, 9]))
        0.5
    """
    if not len(values):
        return math.nan
    numbered = torch.unique(groups, return_inverse=True)[1]
    return float(_group_mean(centred(values.double(), numbered).square(), numbered).sqrt().mean())


def flat_groups(values: Tensor, groups: Tensor) -> Tensor:
    """True for the groups in which all values are equal, ``(groups,)``; their advantages are 0.

    Example:
        >>> flat_groups(torch.tensor([1.0, 2.0, 3.0, 3.0]), torch.tensor([7, 7, 9, 9])).tolist()
        [False, True]
    """
    numbered = torch.unique(groups, return_inverse=True)[1]
    return _group_mean(centred(values, numbered).abs(), numbered) == 0


def _group_mean(values: Tensor, groups: Tensor) -> Tensor:
    return values.new_zeros(int(groups.max()) + 1).scatter_reduce(0, groups, values, "mean", include_self=False)
