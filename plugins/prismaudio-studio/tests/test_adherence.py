"""Shares of a difference: all of it, half of it, none of it."""

from dataclasses import replace

import pytest
import torch
from bursts import sound_and_truth
from stories import STORIES

from prismaudio.metrics.target import Target
from prismaudio_studio.adherence import LateEnergyAdherence, NoiseFloorAdherence


@pytest.mark.parametrize(("floor_db", "share"), [(-40, 1.0), (-55, 0.5), (-75, 0.0)])
def test_noise_floor(floor_db, share) -> None:
    metric = NoiseFloorAdherence()
    clean, clean_truth = sound_and_truth(replace(STORIES[0], quality="clean"))
    _, noisy_truth = sound_and_truth(replace(STORIES[1], quality="noisy"), floor_db=-40)
    sound, _ = sound_and_truth(STORIES[1], floor_db=floor_db)
    metric.update(torch.stack([clean, sound]), 16_000, [clean_truth, noisy_truth])
    assert metric.compute() == pytest.approx(share, abs=0.05)


def test_late_energy() -> None:
    metric = LateEnergyAdherence()
    dry, dry_truth = sound_and_truth(replace(STORIES[0], room="dry"))
    hall, hall_truth = sound_and_truth(replace(STORIES[0], room="hall"), tail_db=-40)
    metric.update(torch.stack([dry, hall]), 16_000, [dry_truth, hall_truth])
    assert metric.compute() == pytest.approx(1)
    metric.reset()
    metric.update(torch.stack([dry, dry]), 16_000, [dry_truth, hall_truth])
    assert metric.compute() == pytest.approx(0, abs=0.02)


def test_clips_of_one_kind_give_no_number() -> None:
    metric = NoiseFloorAdherence()
    sound, truth = sound_and_truth(replace(STORIES[0], quality="clean"))
    metric.update(sound[None], 16_000, [truth])
    assert torch.isnan(metric.compute())


def test_a_story_without_true_sound_does_not_count() -> None:
    metric = NoiseFloorAdherence()
    story = replace(STORIES[0], quality="noisy")
    metric.update(sound_and_truth(story)[0][None], 16_000, [Target.from_story(story)])
    assert metric.sums.sum() == 0


def test_two_processes_equal_one() -> None:
    whole, parts = NoiseFloorAdherence(), [NoiseFloorAdherence(), NoiseFloorAdherence()]
    for i, story in enumerate(STORIES):
        sound, truth = sound_and_truth(replace(story, quality=("clean", "noisy")[i // 2 % 2]), floor_db=-50 + i)
        for metric in (whole, parts[i % 2]):
            metric.update(sound[None], 16_000, [truth])
    parts[0].merge_state(parts[1])
    assert parts[0].compute() == pytest.approx(float(whole.compute()))
