"""Bootstrap intervals: what they cover, what is left out, and pairs that are resampled together."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from prismaudio.errors import DataError
from prismaudio.evaluation.intervals import MeanInterval, difference_interval, draw_clips, mean_interval


def values(n: int, seed: int) -> torch.Tensor:
    return torch.randn(n, generator=torch.Generator().manual_seed(seed)).double()


def test_the_interval_is_that_of_resampled_means() -> None:
    sample = values(30, 0)
    found = mean_interval(sample, seed=3)
    means = sorted(float(sample[clips].mean()) for clips in draw_clips(30, seed=3))
    assert len(means) == 1000
    assert (found.low, found.high) == pytest.approx(tuple(np.percentile(means, [2.5, 97.5])), abs=1e-12)
    assert found.mean == pytest.approx(float(sample.mean()))
    narrow = mean_interval(sample, confidence=0.5, seed=3)
    assert found.low < narrow.low < narrow.mean < narrow.high < found.high


def test_it_covers_the_true_mean_as_often_as_it_says() -> None:
    found = [mean_interval(values(50, seed), draws=200, seed=seed) for seed in range(200)]
    share = sum(one.low <= 0 <= one.high for one in found) / len(found)
    assert 0.88 < share < 0.99  # 0.95 of 200, with fewer for 50 clips
    assert sum(one.excludes_zero for one in found) == round((1 - share) * len(found))


def test_the_seed_decides() -> None:
    sample = values(20, 0)
    assert mean_interval(sample, seed=1) == mean_interval(sample.tolist(), seed=1)
    assert mean_interval(sample, seed=1) != mean_interval(sample, seed=2)


def test_clips_without_a_value_are_left_out_and_counted() -> None:
    found = mean_interval([1.0, None, 2.0, math.nan, 3.0, math.inf])
    assert found == replace(mean_interval([1.0, 2.0, 3.0]), left_out=3)
    assert mean_interval([]) == MeanInterval(None, None, None, 0, 0)
    assert mean_interval([None, math.nan]) == MeanInterval(None, None, None, 0, 2)
    assert mean_interval([2.0, None]) == MeanInterval(2.0, None, None, 1, 1)
    assert not mean_interval([2.0]).excludes_zero


def test_pairs_are_resampled_together() -> None:
    hard = dict(zip("abcdefghijklmnopqrst", (10 * values(20, 0)).tolist(), strict=True))
    better = {clip: value + 1 + 0.01 * index for index, (clip, value) in enumerate(hard.items())}
    found = difference_interval(better, dict(reversed(hard.items())))
    assert found.mean == pytest.approx(1.095)
    assert found.excludes_zero
    assert found.high - found.low < 0.1 < mean_interval(hard.values()).high - mean_interval(hard.values()).low
    opposite = difference_interval(hard, better)
    assert (opposite.mean, opposite.low, opposite.high) == pytest.approx((-found.mean, -found.high, -found.low))


def test_a_difference_is_of_clips_that_both_have() -> None:
    found = difference_interval({"a": 1.0, "b": 3.0, "c": None, "d": 5.0}, {"a": 0.0, "b": 1.0, "c": 2.0, "e": 9.0})
    assert (found.mean, found.clips, found.left_out) == (1.5, 2, 3)
    assert difference_interval({"a": 1.0}, {"b": 1.0}) == MeanInterval(None, None, None, 0, 2)


@pytest.mark.parametrize("options", [{"draws": 0}, {"confidence": 0.0}, {"confidence": 95}])
def test_what_is_no_interval_is_refused(options) -> None:
    with pytest.raises(DataError, match="expected"):
        mean_interval([1.0, 2.0], **options)
