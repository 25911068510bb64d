"""Onset F1 has known values on constructed sounds and adds up over processes."""

import itertools
import random

import pytest
import torch
from bursts import sound_and_truth
from stories import STORIES

from prismaudio.metrics.onset import OnsetF1, match_onsets
from prismaudio.metrics.target import Target
from prismaudio.plan.story import Source, Story


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
