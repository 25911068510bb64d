"""Errors of time differences are what was put in."""

from __future__ import annotations

import pytest
import torch

from prismaudio.metrics.itd import GccMse, window_starts
from prismaudio.metrics.target import Target
from prismaudio.types import Clip

RATE_HZ = 16_000


def from_side(samples: int, n: int = 12_000) -> torch.Tensor:
    """Noise ``(2, n)`` whose right channel is later by some samples."""
    noise = 0.1 * torch.randn(n + 100, generator=torch.Generator().manual_seed(0))
    return torch.stack([noise[50 : 50 + n], noise[50 - samples : 50 - samples + n]])


def truth(samples: int, n: int = 12_000) -> Target:
    return Target.of(Clip("a", n / RATE_HZ, audio=from_side(samples, n), sample_rate_hz=RATE_HZ))


def test_the_error_is_that_of_the_delays() -> None:
    metric = GccMse()
    metric.update(torch.stack([from_side(4), from_side(-8)]), RATE_HZ, [truth(4), truth(8)])
    assert float(metric.compute()) == pytest.approx(1000 * (0**2 + 1.0**2) / 2, rel=1e-4)


@pytest.mark.parametrize("n", [1600, 5000, 12_000])
def test_any_length_and_any_level_are_measured(n) -> None:
    metric = GccMse()
    metric.update(torch.stack([from_side(4, n), 0 * from_side(4, n)]), RATE_HZ, [truth(4, n)] * 2)
    assert float(metric.compute()) == pytest.approx(1000 * 0.25**2 / 2, rel=1e-3)


def test_without_a_reference_it_does_not_count() -> None:
    metric = GccMse()
    metric.update(from_side(4)[None], RATE_HZ, [Target.of(Clip("silent video", 1.0))])
    assert metric.compute().isnan()


@pytest.mark.parametrize("n_samples", [144_000, 160_000, 20_000, 100])
def test_windows_begin_every_tenth_of_a_second_inside_the_sound(n_samples) -> None:
    starts = window_starts(n_samples, 100)
    assert starts[:4].tolist() == ([0, 0, 1280, 2880] if n_samples > 4352 else [0] * 4)
    assert starts[-1] == max(0, min(n_samples - 4352, 156_480))
