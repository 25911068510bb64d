"""Directions that were put in are measured, mirrored ones are noticed."""

from dataclasses import replace

import pytest
import torch
from bursts import sound_and_truth
from stories import STORIES

from prismaudio.metrics.spatial import IldCorrelation, ItdCorrelation, SideAdherence, event_parts
from prismaudio.metrics.target import Target
from prismaudio.plan.story import Source, Story


@pytest.mark.parametrize("metric_class", [ItdCorrelation, IldCorrelation])
def test_correlation_is_one_for_the_truth_and_minus_one_mirrored(metric_class) -> None:
    pairs = [sound_and_truth(story) for story in STORIES]
    audio, targets = torch.stack([sound for sound, _ in pairs]), [truth for _, truth in pairs]
    metric = metric_class()
    metric.update(audio, 16_000, targets)
    assert metric.compute() > 0.98
    metric.reset()
    metric.update(audio.flip(1), 16_000, targets)
    assert metric.compute() < -0.98


@pytest.mark.parametrize("metric_class", [ItdCorrelation, IldCorrelation])
def test_two_processes_equal_one(metric_class) -> None:
    whole, parts = metric_class(), [metric_class(), metric_class()]
    for i, (sound, truth) in enumerate(sound_and_truth(story) for story in STORIES):
        for metric in (whole, parts[i % 2]):
            metric.update(sound[None], 16_000, [truth])
    parts[0].merge_state(parts[1])
    assert parts[0].compute() == pytest.approx(float(whole.compute()), abs=1e-12)


def test_what_another_source_disturbs_is_not_measured() -> None:
    bell = Source("bell", (1.0, 2.0), azimuth_deg=(-40, -40))
    whistle = Source("whistle", (1.8,), end_s=3.0, azimuth_deg=(40, 40))
    drum = Source("drum", (0.9,), azimuth_deg=(40, 40))
    for other, parts in [(whistle, 2), (drum, 2), (replace(drum, onsets_s=(3.0,)), 3)]:
        sound, truth = sound_and_truth(Story((bell, other)))
        assert len(list(event_parts(sound, 16_000, truth))) == parts


def test_side() -> None:
    metric = SideAdherence()
    for story in STORIES[:6]:
        sound, truth = sound_and_truth(story)
        metric.update(sound[None], 16_000, [truth])
    assert (metric.compute(), metric.total) == (1, 5)  # the one in the middle does not count
    for story in STORIES[:6]:
        sound, truth = sound_and_truth(story)
        metric.update(sound[None].flip(1), 16_000, [truth])
    assert metric.compute() == 0.5


def test_nothing_measured_is_not_a_number() -> None:
    for metric in (ItdCorrelation(), SideAdherence()):
        metric.update(torch.zeros(1, 2, 8000), 16_000, [Target.from_story(Story())])
        assert torch.isnan(metric.compute())
