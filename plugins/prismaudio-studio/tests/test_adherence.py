"""Shares of a difference: all of it, half of it, none of it."""

import math
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from prismaudio.metrics.truth import Truth, story_events
from prismaudio.plan.story import Source, Story
from prismaudio_studio.adherence import LateEnergyObeyed, NoiseFloorObeyed

RATE_HZ = 16_000


def sound_of(story: Story, floor_db: float = -80.0, tail_db: float | None = None, seed: int = 0) -> Tensor:
    """A noise burst for every event of a story, delayed and weighted by its direction, ``(2, 4 s)`` at 16 kHz."""
    generator = torch.Generator().manual_seed(seed)
    n = 4 * RATE_HZ
    sound = 10 ** (floor_db / 20) * torch.randn(2, n, generator=generator)
    for event in story_events(story):
        side = math.sin(math.radians(event.azimuth_deg or 0.0))
        start, late = round(event.time_s * RATE_HZ), round(10 * side)
        since = torch.arange(n) - start
        burst = 0.3 * torch.randn(n, generator=generator) * torch.exp(-since.clamp(min=0) / (0.02 * RATE_HZ))
        if tail_db is not None:
            burst += 10 ** (tail_db / 20) * torch.randn(n, generator=generator)
        burst *= since >= 0
        sound += torch.stack(
            [burst.roll(max(0, late)) * 10 ** (-side / 4), burst.roll(max(0, -late)) * 10 ** (side / 4)]
        )
    return sound


@pytest.fixture
def make() -> Callable[..., tuple[Tensor, Truth]]:
    """Makes (sound, truth) of a story."""

    def made(story: Story, **options: float) -> tuple[Tensor, Truth]:
        sound = sound_of(story, **options)  # type: ignore[arg-type]
        return sound, Truth.from_story(story, sound, RATE_HZ)

    return made


@pytest.fixture
def stories() -> list[Story]:
    """Six stories of one source in different directions, one of two sources."""
    single = [
        Story((Source("bell", (0.5 + 0.1 * i, 2.0), azimuth_deg=(a, a)),))
        for i, a in enumerate((-60, -30, 0, 15, 40, 60))
    ]
    return [
        *single,
        Story((Source("bell", (0.4, 2.5), azimuth_deg=(-50, -20)), Source("drum", (1.2,), azimuth_deg=(30, 30)))),
    ]


@pytest.mark.parametrize(("floor_db", "share"), [(-40, 1.0), (-55, 0.5), (-75, 0.0)])
def test_noise_floor(make, stories, floor_db, share) -> None:
    metric = NoiseFloorObeyed()
    clean, clean_truth = make(replace(stories[0], quality="clean"))
    _, noisy_truth = make(replace(stories[1], quality="noisy"), floor_db=-40)
    sound, _ = make(stories[1], floor_db=floor_db)
    metric.update(torch.stack([clean, sound]), 16_000, [clean_truth, noisy_truth])
    assert metric.compute() == pytest.approx(share, abs=0.05)


def test_late_energy(make, stories) -> None:
    metric = LateEnergyObeyed()
    dry, dry_truth = make(replace(stories[0], room="dry"))
    hall, hall_truth = make(replace(stories[0], room="hall"), tail_db=-40)
    metric.update(torch.stack([dry, hall]), 16_000, [dry_truth, hall_truth])
    assert metric.compute() == pytest.approx(1)
    metric.reset()
    metric.update(torch.stack([dry, dry]), 16_000, [dry_truth, hall_truth])
    assert metric.compute() == pytest.approx(0, abs=0.02)


def test_clips_of_one_kind_give_no_number(make, stories) -> None:
    metric = NoiseFloorObeyed()
    sound, truth = make(replace(stories[0], quality="clean"))
    metric.update(sound[None], 16_000, [truth])
    assert torch.isnan(metric.compute())


def test_a_story_without_true_sound_does_not_count(make, stories) -> None:
    metric = NoiseFloorObeyed()
    story = replace(stories[0], quality="noisy")
    metric.update(make(story)[0][None], 16_000, [Truth.from_story(story)])
    assert metric.sums.sum() == 0


def test_two_processes_equal_one(make, stories) -> None:
    whole, parts = NoiseFloorObeyed(), [NoiseFloorObeyed(), NoiseFloorObeyed()]
    for i, story in enumerate(stories):
        sound, truth = make(replace(story, quality=("clean", "noisy")[i // 2 % 2]), floor_db=-50 + i)
        for metric in (whole, parts[i % 2]):
            metric.update(sound[None], 16_000, [truth])
    parts[0].merge_state(parts[1])
    assert parts[0].compute() == pytest.approx(float(whole.compute()))
