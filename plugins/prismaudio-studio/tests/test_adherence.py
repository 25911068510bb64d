"""Measured differences relative to the true one: all, half and none of it."""

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
    clean, clean_target = sound_and_truth(replace(STORIES[0], quality="clean"))
    _, noisy_target = sound_and_truth(replace(STORIES[1], quality="noisy"), floor_db=-40)
    audio, _ = sound_and_truth(STORIES[1], floor_db=floor_db)
    metric.update(torch.stack([clean, audio]), 16_000, [clean_target, noisy_target])
    assert metric.compute() == pytest.approx(share, abs=0.05)


def test_late_energy() -> None:
    metric = LateEnergyAdherence()
    dry, dry_target = sound_and_truth(replace(STORIES[0], room="dry"))
    hall, hall_target = sound_and_truth(replace(STORIES[0], room="hall"), tail_db=-40)
    metric.update(torch.stack([dry, hall]), 16_000, [dry_target, hall_target])
    assert metric.compute() == pytest.approx(1)
    metric.reset()
    metric.update(torch.stack([dry, dry]), 16_000, [dry_target, hall_target])
    assert metric.compute() == pytest.approx(0, abs=0.02)


def test_clips_with_one_attribute_give_nan() -> None:
    metric = NoiseFloorAdherence()
    audio, target = sound_and_truth(replace(STORIES[0], quality="clean"))
    metric.update(audio[None], 16_000, [target])
    assert torch.isnan(metric.compute())


def test_a_target_without_reference_audio_is_skipped() -> None:
    metric = NoiseFloorAdherence()
    story = replace(STORIES[0], quality="noisy")
    metric.update(sound_and_truth(story)[0][None], 16_000, [Target.from_story(story)])
    assert metric.sums.sum() == 0


def test_two_processes_equal_one() -> None:
    whole, parts = NoiseFloorAdherence(), [NoiseFloorAdherence(), NoiseFloorAdherence()]
    for i, story in enumerate(STORIES):
        audio, target = sound_and_truth(replace(story, quality=("clean", "noisy")[i // 2 % 2]), floor_db=-50 + i)
        for metric in (whole, parts[i % 2]):
            metric.update(audio[None], 16_000, [target])
    parts[0].merge_state(parts[1])
    assert parts[0].compute() == pytest.approx(float(whole.compute()))
