"""Onset metrics have known values on constructed sounds and add up over processes."""

import itertools
import random

import pytest
import torch
from bursts import sound_and_truth
from stories import STORIES

from prismaudio.metrics.onset import OnsetF1, OnsetPrecision, OnsetRecall, ReferenceOnsetF1, match_onsets
from prismaudio.metrics.target import Target
from prismaudio.plan.story import Source, Story
from prismaudio.testing import check_metric
from prismaudio.types import Clip


def best_matching(found: list[float], true: list[float], tolerance: float) -> int:
    """By trying everything."""
    if len(found) > len(true):
        found, true = true, found
    return max(
        sum(abs(a - b) <= tolerance + 1e-9 for a, b in zip(found, p, strict=True))
        for p in itertools.permutations(true, len(found))
    )


def test_pairing_in_order_is_the_best_pairing() -> None:
    rng = random.Random(0)
    for _ in range(300):
        found = [rng.random() * 0.4 for _ in range(rng.randrange(5))]
        true = [rng.random() * 0.4 for _ in range(rng.randrange(5))]
        assert match_onsets(found, true) == best_matching(found, true, 0.05)


def test_known_values() -> None:
    sound, truth = sound_and_truth(STORIES[0])
    metric = OnsetF1()
    metric.update(sound[None], 16_000, [truth])
    assert metric.compute() == 1
    wrong = Target.from_story(Story((Source("bell", (0.5, 2.0, 3.0, 3.5)),)))  # 2 of 4 are there
    metric.reset()
    metric.update(sound[None], 16_000, [wrong])
    assert metric.compute() == pytest.approx(2 * 2 / (2 + 4))


def test_kinds_of_clip_are_kept_apart() -> None:
    pairs = [sound_and_truth(story) for story in STORIES]
    audio, targets = torch.stack([sound for sound, _ in pairs]), [truth for _, truth in pairs]
    counts = {}
    for kind in ("single", "mixed", "all"):
        metric = OnsetF1(kind)
        metric.update(audio, 16_000, targets)
        counts[kind] = int(metric.true)
    assert counts == {"single": 12, "mixed": 3, "all": 15}


def test_two_processes_equal_one() -> None:
    pairs = [sound_and_truth(story) for story in STORIES]
    whole, parts = OnsetF1(), [OnsetF1(), OnsetF1()]
    for i, (sound, truth) in enumerate(pairs):
        for metric in (whole, parts[i % 2]):
            metric.update(sound[None], 16_000, [truth])
    parts[0].merge_state(parts[1])
    assert parts[0].compute() == whole.compute()
    assert parts[0].true == whole.true


def test_precision_and_recall_are_those_of_the_plan() -> None:
    sound, _ = sound_and_truth(STORIES[0])
    target = Target.from_story(Story((Source("bell", (0.5, 2.0, 3.0, 3.5)),)))  # 2 of 4 are there, and 2 are found
    values = []
    for metric in (OnsetPrecision(), OnsetRecall()):
        metric.update(sound[None], 16_000, [target])
        values.append(float(metric.compute()))
    assert values == [1.0, 0.5]


def test_without_a_plan_the_onsets_of_the_reference_are_true() -> None:
    sound, _ = sound_and_truth(STORIES[0])
    later, much_later = (torch.roll(sound, round(shift_s * 16_000), 1) for shift_s in (0.08, 0.3))
    silent = torch.zeros_like(sound)
    for audio, reference, f1 in ((later, sound, 1.0), (much_later, sound, 0.0), (silent, sound, 0.0)):
        metric = ReferenceOnsetF1()
        metric.update(audio[None], 16_000, [Target.of(Clip("a", 4.0, audio=reference, sample_rate_hz=16_000))])
        assert float(metric.compute()) == f1
    metric = ReferenceOnsetF1()
    metric.update(sound[None], 16_000, [Target.of(Clip("a", 4.0, audio=silent, sample_rate_hz=16_000))])
    assert metric.skipped == {0: "the reference has no onsets"}


@pytest.mark.parametrize("metric", [OnsetPrecision, OnsetRecall, ReferenceOnsetF1])
def test_the_contract(metric) -> None:
    check_metric(metric())
