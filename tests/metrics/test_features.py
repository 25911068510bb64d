"""Values that are known, those of torchmetrics, and sums that add up over processes."""

from __future__ import annotations

import itertools
import math
import statistics

import pytest
import torch
from torch import nn
from torchmetrics.image.fid import FrechetInceptionDistance

from prismaudio.metrics import features
from prismaudio.metrics.features import FrechetDistance, InceptionScore, KernelDistance, KlDivergence, MeanCosine
from prismaudio.metrics.networks import (
    AudioCosine,
    AudioFrechetDistance,
    AudioInceptionScore,
    AudioKernelDistance,
    AudioKL,
    NetworkMetric,
)
from prismaudio.metrics.target import Target
from prismaudio.types import Clip

WIDTH = 6
MAKERS = {
    "fd": lambda: FrechetDistance(WIDTH),
    "kad": KernelDistance,
    "kl": KlDivergence,
    "kl sigmoid": lambda: KlDivergence("sigmoid"),
    "cosine": MeanCosine,
    "is": lambda: InceptionScore(splits=3),
}


def rows(n: int, seed: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(n, WIDTH, generator=generator) @ torch.randn(WIDTH, WIDTH, generator=generator) + 2


class Features(nn.Module):
    num_features = WIDTH

    def forward(self, x):
        return x


@pytest.mark.parametrize("n", [4, 40])
def test_frechet_distance_is_that_of_torchmetrics(n) -> None:
    theirs = FrechetInceptionDistance(Features(), normalize=True, input_img_size=(1, WIDTH, 1)).set_dtype(torch.float64)
    theirs.inception = Features()
    ours = FrechetDistance(WIDTH)
    for seed in range(3):
        generated, true = rows(n, seed).double(), rows(n + 3, seed + 10).double()
        ours.update(generated, true)
        theirs.update(generated, real=False)
        theirs.update(true, real=True)
    assert float(ours.compute()) == pytest.approx(float(theirs.compute()), rel=1e-6)


@pytest.mark.parametrize("name", MAKERS)
def test_parts_are_the_whole(name) -> None:
    whole, parts = MAKERS[name](), [MAKERS[name]() for _ in range(2)]
    generated, true = rows(20, 0), rows(20, 1)
    whole.update(generated, true)
    for part, some in zip(parts, (slice(0, 7), slice(7, 20)), strict=True):
        part.update(generated[some], true[some])
    parts[1].merge_state(parts[0])
    assert torch.allclose(parts[1].compute(), whole.compute(), atol=1e-9)


@pytest.mark.parametrize("name", MAKERS)
def test_nothing_is_not_a_number(name) -> None:
    metric = MAKERS[name]()
    metric._update_count = 1  # no warning that nothing was there
    assert metric.compute().isnan().all()


def test_known_values() -> None:
    same = rows(50, 0)
    for name, expected in {"fd": 0.0, "kl": 0.0, "kl sigmoid": 0.0, "cosine": 1.0}.items():
        metric = MAKERS[name]()
        metric.update(same, same)
        assert float(metric.compute()) == pytest.approx(expected, abs=1e-6), name
    scores = InceptionScore(splits=2)
    scores.update(torch.zeros(8, 5))
    assert scores.compute().tolist() == pytest.approx([1, 0])


def test_a_shift_and_a_scale() -> None:
    metric, true = FrechetDistance(WIDTH), rows(1000, 0).double()
    metric.update(2 * true, true)
    spread = float(true.T.cov().trace())
    assert float(metric.compute()) == pytest.approx(float(true.mean(0).square().sum()) + spread, rel=1e-6)


def kernel_distance(generated: list[list[float]], true: list[list[float]]) -> float:
    """The definition of KAD, pair by pair."""

    def distance(a: list[float], b: list[float]) -> float:
        return math.dist(a, b)

    def mean(pairs: list[tuple[list[float], list[float]]]) -> float:
        return sum(math.exp(-(distance(a, b) ** 2) / (2 * bandwidth**2 + 1e-8)) for a, b in pairs) / len(pairs)

    def others(side: list[list[float]]) -> list[tuple[list[float], list[float]]]:
        return list(itertools.permutations(side, 2))

    bandwidth = statistics.median_low([distance(a, b) for a, b in itertools.combinations(true, 2)])
    return 100 * (mean(others(true)) + mean(others(generated)) - 2 * mean(list(itertools.product(generated, true))))


@pytest.mark.parametrize(("n", "offset"), [(2, 0.0), (12, 0.5), (31, 1e4)])
def test_kernel_distance_is_that_of_all_pairs(n, offset, monkeypatch) -> None:
    monkeypatch.setattr(features, "KERNEL_ROWS", 5)
    generated, true = rows(n, 0).double() + offset, rows(n + 3, 1).double() + offset
    metric = KernelDistance()
    metric.update(generated, true)
    expected = kernel_distance(generated.tolist(), true.tolist())
    assert float(metric.compute()) == pytest.approx(expected, rel=1e-7, abs=1e-7)
    assert metric.compute() != KernelDistance.compute(swapped(metric))  # the bandwidth is that of the reference


def swapped(metric: KernelDistance) -> KernelDistance:
    other = KernelDistance()
    other.update(metric.reference[0], metric.generated[0])
    return other


def test_kernel_distance_of_equal_distributions_is_on_either_side_of_zero() -> None:
    values = []
    for seed in range(20):
        metric = KernelDistance()
        metric.update(*torch.randn(2, 40, WIDTH, generator=torch.Generator().manual_seed(seed)))
        values.append(float(metric.compute()))
    assert min(values) < 0 < max(values)
    assert abs(statistics.mean(values)) < 3 * statistics.stdev(values) / math.sqrt(len(values))


def test_kernel_distance_needs_two_rows_and_takes_equal_ones(monkeypatch) -> None:
    metric = KernelDistance()
    metric.update(rows(1, 0), rows(5, 1))
    assert metric.compute().isnan()
    same = KernelDistance()
    same.update(torch.ones(4, WIDTH), torch.ones(3, WIDTH))
    assert same.compute() == 0
    other = KernelDistance()
    other.update(torch.zeros(4, WIDTH), torch.ones(3, WIDTH))
    assert other.compute() == 200  # no pair of different sides has any similarity
    exact, sampled = KernelDistance(), KernelDistance()
    for each in (exact, sampled):
        each.update(rows(100, 0), rows(500, 1))
    expected = exact.compute()
    monkeypatch.setattr(features, "MAX_BANDWIDTH_ROWS", 250)
    assert float(sampled.compute()) == pytest.approx(float(expected), rel=0.1)


class Levels(NetworkMetric):
    """A network whose features are the levels of the channels."""

    def features(self, sound, sample_rate_hz):
        return sound.square().mean(1, keepdim=True).T


class LevelDistance(Levels, AudioFrechetDistance):
    """Fréchet distance of levels."""


class LevelKernelDistance(Levels, AudioKernelDistance):
    """Kernel distance of levels."""


class LevelKl(Levels, AudioKL):
    """KL of levels."""


class LevelScore(Levels, AudioInceptionScore):
    """Inception score of levels."""


class LevelCosine(Levels, AudioCosine):
    """Cosine with equal levels."""

    def target(self, truth):
        return torch.ones(1, 2)


def sounds(n: int, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(n, 2, 1, generator=generator) * torch.randn(n, 2, 800, generator=generator)


def test_a_plugin_has_all_of_them() -> None:
    audio, references = sounds(12), sounds(12, 1)
    targets = [Target.of(Clip("a", 0.1, audio=reference, sample_rate_hz=8000)) for reference in references]
    levels = [x.square().mean(-1) for x in (audio, references)]
    cosine = LevelCosine()
    ours = LevelDistance(2), LevelKernelDistance(), LevelKl(), LevelScore(), cosine
    direct = FrechetDistance(2), KernelDistance(), KlDivergence(), InceptionScore(), MeanCosine()
    for metric, plain in zip(ours, direct, strict=True):
        metric.update(audio, 8000, targets)
        plain.update(levels[0], torch.ones(12, 2) if metric is cosine else levels[1])
        assert float(metric.compute()) == pytest.approx(float(plain.compute().flatten()[0]), rel=1e-6)


def test_what_cannot_be_scored_does_not_count() -> None:
    truth = Target.of(Clip("a", 0.1, audio=sounds(1)[0], sample_rate_hz=8000))
    divergence = LevelKl()
    divergence.update(sounds(1), 8000, [truth])
    expected = divergence.compute()
    divergence.update(sounds(2, 5), 8000, [Target.of(Clip("silent video", 0.1))] * 2)
    divergence.update(torch.full((1, 2, 800), math.nan), 8000, [truth])
    assert divergence.count == 1
    assert torch.equal(divergence.compute(), expected)
