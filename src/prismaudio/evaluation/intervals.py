"""Bootstrap intervals of means over clips, and of paired differences between systems."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from prismaudio.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

DRAWS = 1000
"""Resampled sets of clips per interval."""
CONFIDENCE = 0.95


@dataclass(frozen=True)
class MeanInterval:
    """A mean over clips and its percentile bootstrap interval.

    Args:
        mean: The mean; None if no clip has a value.
        low: Lower bound of the interval; None with fewer than two clips.
        high: Upper bound of the interval.
        clips: Number of clips that the mean is over.
        left_out: Number of clips without a finite value; of a difference, also those that only one system has.
    """

    mean: float | None
    low: float | None
    high: float | None
    clips: int
    left_out: int

    @property
    def excludes_zero(self) -> bool:
        """Whether the interval lies on one side of 0."""
        return self.low is not None and self.high is not None and (self.low > 0 or self.high < 0)


def mean_interval(
    values: Iterable[float | None] | Tensor, draws: int = DRAWS, confidence: float = CONFIDENCE, seed: int = 0
) -> MeanInterval:
    """Mean over clips with its percentile bootstrap interval; clips without a finite value are left out and counted.

    Args:
        values: A value per clip; None or NaN for none.
        draws: Number of resampled sets of clips, which have as many clips each, with replacement.
        confidence: Share of the resampled means within the interval, between 0 and 1.
        seed: Seed of the resampling; the same number of clips and the same seed give the same sets.

    Raises:
        DataError: ``draws`` or ``confidence`` is out of range.

    Source:
        Efron and Tibshirani, "An Introduction to the Bootstrap", 1993, chapter 13.

    Example:
        >>> mean_interval([0.0, 1.0, None, 2.0, 3.0])
        MeanInterval(mean=1.5, low=0.5, high=2.5, clips=4, left_out=1)
    """
    if isinstance(values, Tensor):
        given = values.detach().flatten().double().cpu()
    else:
        given = torch.tensor([math.nan if value is None else float(value) for value in values], dtype=torch.float64)
    finite = given[given.isfinite()]
    n, left_out = len(finite), len(given) - len(finite)
    mean = float(finite.mean()) if n else None
    if n < 2:
        return MeanInterval(mean, None, None, n, left_out)
    bounds = percentile_interval(finite[draw_clips(n, draws, seed)].mean(1), confidence)
    low, high = bounds if bounds is not None else (None, None)
    return MeanInterval(mean, low, high, n, left_out)


def difference_interval(
    first: Mapping[str, float | None],
    second: Mapping[str, float | None],
    draws: int = DRAWS,
    confidence: float = CONFIDENCE,
    seed: int = 0,
) -> MeanInterval:
    """Mean of ``first - second`` over the clips that both systems have, with its percentile bootstrap interval.

    The clips are resampled, not the systems, so that what makes a clip easy or hard for both does not widen the
    interval.

    Args:
        first: Values of a system by clip; None or NaN for none.
        second: Values of another system by clip.
        draws: Number of resampled sets of clips.
        confidence: Share of the resampled means within the interval, between 0 and 1.
        seed: Seed of the resampling.

    Raises:
        DataError: ``draws`` or ``confidence`` is out of range.

    Example:
        >>> difference_interval({"a": 1.0, "b": 5.0, "c": 2.0}, {"b": 4.0, "a": 0.0})
        MeanInterval(mean=1.0, low=1.0, high=1.0, clips=2, left_out=1)
    """
    differences = []
    for clip in sorted(first.keys() | second.keys()):
        one, other = first.get(clip), second.get(clip)
        differences.append(None if one is None or other is None else one - other)
    return mean_interval(differences, draws, confidence, seed)


def draw_clips(n: int, draws: int = DRAWS, seed: int = 0) -> Tensor:
    """Indices ``(draws, n)`` of resampled sets of ``n`` clips, drawn with replacement.

    Args:
        n: Number of clips, 1 or more.
        draws: Number of sets.
        seed: Seed; the same for all systems, so that they are compared on the same clips.

    Raises:
        DataError: ``draws`` is less than 1.

    Example:
        >>> draw_clips(3, draws=2, seed=0)
        tensor([[2, 0, 2],
                [0, 1, 0]])
    """
    if draws < 1:
        raise DataError(f"{draws} resampled sets of clips; expected 1 or more")
    return torch.randint(n, (draws, n), generator=torch.Generator().manual_seed(seed))


def percentile_interval(values: Tensor, confidence: float = CONFIDENCE) -> tuple[float, float] | None:
    """The middle of values of resampled sets ``(draws,)``; None if none is finite, others that are not are left out.

    Args:
        values: Values of resampled sets.
        confidence: Share of the values within the interval, between 0 and 1.

    Raises:
        DataError: ``confidence`` is out of range.

    Example:
        >>> percentile_interval(torch.arange(101.0), 0.9)
        (5.0, 95.0)
    """
    if not 0 < confidence < 1:
        raise DataError(f"a confidence of {confidence:g}; expected a number between 0 and 1, such as 0.95")
    finite = values.detach().double().cpu()
    finite = finite[finite.isfinite()]
    if not len(finite):
        return None
    tail = round((1 - confidence) / 2, 12)  # 0.025 and not 0.025000000000000022
    low, high = finite.quantile(torch.tensor([tail, 1 - tail], dtype=torch.float64)).tolist()
    return low, high
