"""Metrics of plans have the values that one calculates by hand, and add up over processes."""

import itertools
import math
import random

import pytest
import torch
from bursts import sound_and_truth
from stories import STORIES, random_story

from prismaudio.metrics.plans import (
    METRICS,
    PlanReference,
    PlanScore,
    SoundEvent,
    match_events,
    match_intervals,
    measured_azimuths,
    sound_events,
    temporal_iou,
)
from prismaudio.plan import Plan
from prismaudio.plan.story import Source, Story
from prismaudio.plan.writing import describe

THINGS = ("dog", "car door", "thunder", "piano", "violin", "baby", "helicopter", "sea lion", "church organ", "bus")
EVENTS = [name for name in METRICS if name.startswith(("event_", "onset_"))]
NEVER_BELOW = {"contradictions", "direction_error_deg", "missed_events", "invented_events"}
"""Values of which less is better; of all others 1 is the best."""
TRUTH = Story(
    (
        Source("dog", (1.0, 2.0), azimuth_deg=(-40.0, -40.0)),
        Source("car", (0.5,), 3.5, azimuth_deg=(-60.0, 60.0)),
    ),
    "clean",
    "dry",
)
WRITTEN = {
    "semantic": "A dog barks three times. A car passes. A cat meows.",
    "temporal": "The dog sounds at 1.04 s, 2.20 s and 3.00 s. The car sounds from 0.55 s to 2.50 s. The cat at 0.08 s.",
    "spatial": "The dog is on the left (azimuth -30°). The car moves from the far left (azimuth -60°) to the right.",
}  # fmt: skip


def scored(plans, references, **options):
    score = PlanScore(**options)
    score.update(plans, references)
    return score.as_dict()


def stories(n, seed=0, things=THINGS):
    rng = random.Random(seed)
    return [story for story in (random_story(rng, things) for _ in range(4 * n)) if story.sources][:n]


def reference(story, duration_s=6.0):
    return PlanReference.from_story(story, duration_s)


def same(values, others):
    assert values.keys() == others.keys()
    for name, value in values.items():
        assert value == pytest.approx(others[name], abs=1e-9, nan_ok=True), name


def test_a_worked_example():
    """Three dogs, one car and one cat against two dogs and one car."""
    values = scored([Plan(WRITTEN)], [reference(TRUTH, 4.0)])
    stated, true = 5, 3
    # dog 1.04 for 1.0 (40 ms), dog 2.20 for 2.0 (200 ms), car 0.55 for 0.5 (50 ms)
    for criterion, n_matched in {"50ms": 2, "100ms": 2, "250ms": 3}.items():
        assert values[f"event_precision_{criterion}"] == pytest.approx(n_matched / stated)
        assert values[f"event_recall_{criterion}"] == pytest.approx(n_matched / true)
        assert values[f"event_f1_{criterion}"] == pytest.approx(2 * n_matched / (stated + true))
        assert values[f"onset_f1_{criterion}"] == values[f"event_f1_{criterion}"]
    # IoU of dog 1.04: 0.21 / 0.29; of dog 2.20: 0.05 / 0.45; of the car: 1.95 / 3.00
    assert values["event_f1_iou50"] == pytest.approx(2 * 2 / 8)
    # sounding: 0.5 .. 3.5 against 0.08 .. 0.33, 0.55 .. 2.5 (all dogs but the last inside), 3.0 .. 3.25
    assert values["temporal_iou"] == pytest.approx((1.95 + 0.25) / (3.0 + 0.25))
    assert values["class_match"] == pytest.approx(2 * 2 / (3 + 2))
    # 10° for each dog, 0° for the car at its onset
    assert values["direction_error_deg"] == pytest.approx((10 + 10 + 0) / 3)
    assert (values["missed_events"], values["invented_events"]) == (0, 2)
    assert values["section_coverage"] == 3 / 4
    assert (values["validity_rate"], values["contradictions"]) == (1, 0)
    assert math.isnan(values["class_match_embedding"])


def test_class_match_by_embedding():
    """Dog and cat have a cosine of 0.6, a third noun is orthogonal to both."""
    features = {"dog": [2.0, 0.0, 0.0], "cat": [0.6, 0.8, 0.0], "bus": [0.0, 0.0, 5.0]}

    def embed(nouns):
        return torch.tensor([features[noun] for noun in nouns])

    truth = reference(Story((Source("dog", (1.0,)), Source("bus", (2.0,)))), 4.0)
    values = scored([Plan({"semantic": "A cat meows."})], [truth], embed=embed)
    assert values["class_match"] == 0
    assert values["class_match_embedding"] == pytest.approx((0.6 + 0.6 + 0.0) / 3)
    values = scored([Plan({"semantic": "A dog barks. A bus passes."})], [truth], embed=embed)
    assert values["class_match_embedding"] == pytest.approx(1.0)
    assert scored([None], [truth], embed=embed)["class_match_embedding"] == 0


def test_a_perfect_plan_has_perfect_scores():
    told = stories(100)
    values = scored([Plan(describe(story)) for story in told], [reference(story) for story in told])
    for name in (*EVENTS, "validity_rate", "class_match"):
        assert values[name] == 1, name
    for name in ("contradictions", "missed_events", "invented_events"):
        assert values[name] == 0, name
    assert values["temporal_iou"] == pytest.approx(1)
    assert values["direction_error_deg"] < 0.5


def test_an_empty_plan_and_a_failed_one_are_the_worst():
    told = [reference(story) for story in stories(20)]
    values = scored([None, Plan({})] * 10, told)
    same(values, scored([Plan({"semantic": ""})] * 20, told))
    for name, value in values.items():
        if "recall" in name or "_f1_" in name or name in {"validity_rate", "section_coverage", "temporal_iou"}:
            assert value == 0, name
        if "precision" in name or name in {"direction_error_deg", "contradictions"}:
            assert math.isnan(value), name
    assert values["invented_events"] == 0
    assert values["missed_events"] == pytest.approx(sum(len(r.events) for r in told) / 20)


def test_a_shuffled_plan_is_worse_than_the_true_one():
    told = stories(60)
    true = [reference(story) for story in told]
    plans = [Plan(describe(story)) for story in told]
    best, shuffled = scored(plans, true), scored([*plans[1:], plans[0]], true)
    for name, value in shuffled.items():
        if name in {"validity_rate", "contradictions", "section_coverage"} or math.isnan(value):
            continue
        assert value > best[name] if name in NEVER_BELOW else value < best[name], name
    assert shuffled["event_f1_50ms"] < 0.1


def test_the_order_of_clips_and_of_processes_does_not_matter():
    told = stories(24, seed=3)
    rng = random.Random(1)
    pairs = [
        (Plan(describe(rng.choice(told))) if rng.random() < 0.8 else None, reference(story, rng.uniform(3, 6)))
        for story in told
    ]
    whole = scored(*zip(*pairs, strict=True))
    shuffled = rng.sample(pairs, len(pairs))
    same(scored(*zip(*shuffled, strict=True)), whole)
    parts = []
    for part in (shuffled[:5], shuffled[5:11], shuffled[11:]):
        score = PlanScore()
        for plan, truth in part:
            score.update([plan], [truth])
        parts.append(score)
    parts[0].merge_state(parts[1])
    parts[0].merge_state(parts[2])
    same(parts[0].as_dict(), whole)
    parts[0].reset()
    for plan, truth in pairs:
        parts[0].update([plan], [truth])
    same(parts[0].as_dict(), whole)


def test_nothing_measured_is_nan():
    with pytest.warns(UserWarning, match="before the ``update``"):
        values = PlanScore().as_dict()
    assert list(values) == list(METRICS)
    assert all(math.isnan(value) for value in values.values())


def test_silence_stated_and_true_has_no_events_to_measure():
    values = scored([Plan({"semantic": "Nothing sounds.", "temporal": "Nothing happens."})], [reference(Story())])
    assert all(math.isnan(values[name]) for name in (*EVENTS, "temporal_iou", "class_match", "direction_error_deg"))
    assert (values["missed_events"], values["invented_events"], values["validity_rate"]) == (0, 0, 1)


def test_invalid_and_contradicting_plans_are_counted():
    truth = reference(Story((Source("dog", (1.0,)),)), 4.0)
    plans = [
        Plan({"semantic": "A dog barks.", "temporal": "The dog sounds at 9 s."}),
        Plan({"semantic": "A dog barks twice.", "temporal": "The dog sounds at 1 s."}),
        Plan({"semantic": "A dog barks."}),
        None,
    ]
    values = scored(plans, [truth] * 4)
    assert values["validity_rate"] == 2 / 4
    assert values["contradictions"] == pytest.approx(1 / 3)
    assert values["section_coverage"] == 5 / 16


def test_further_dimensions_can_be_requested():
    truth = reference(Story((Source("dog", (1.0,)),)), 4.0)
    plan = Plan({"semantic": "A dog barks.", "loudness": "Quiet."})
    assert scored([plan], [truth], dimensions=("semantic", "loudness"))["section_coverage"] == 1


@pytest.mark.parametrize("story", STORIES)
def test_the_sound_of_a_clip_as_reference(story):
    """Onsets are found, and directions measured, in the sound itself."""
    sound, _ = sound_and_truth(story)
    truth = PlanReference.from_audio(sound, 16_000)
    values = scored([Plan(describe(story))], [truth])
    assert values["onset_f1_50ms"] == 1
    assert (values["missed_events"], values["invented_events"]) == (0, 0)
    absent = {name for name, value in values.items() if math.isnan(value)}
    need_classes = {name for name in METRICS if name.startswith(("event_", "class_"))}
    if story.sources[0].azimuth_deg == (0, 0):  # the centre alone is mono
        assert absent == need_classes | {"temporal_iou", "direction_error_deg"}
        return
    assert absent == need_classes | {"temporal_iou"}
    assert values["direction_error_deg"] < 12
    mirrored = PlanReference.from_audio(sound.flip(0), 16_000)
    for one, other in zip(truth.events, mirrored.events, strict=True):
        assert one.azimuth_deg == pytest.approx(-other.azimuth_deg, abs=1)


def test_mono_and_silent_sound_have_no_directions():
    sound, _ = sound_and_truth(STORIES[0])
    mono = PlanReference.from_audio(sound.mean(0, keepdim=True).expand(2, -1), 16_000)
    assert len(mono.events) == 2
    assert all(event.azimuth_deg is None for event in mono.events)
    assert PlanReference.from_audio(torch.zeros(2, 16_000), 16_000).events == ()
    assert list(measured_azimuths(torch.zeros(2, 16_000), 16_000, [0.5])) == [None]


def test_impulsive_sounds_last_a_quarter_second_but_not_into_the_next():
    story = Story((Source("dog", (0.1, 0.2, 3.9)), Source("car", (0.5, 1.0), 9.0)))
    assert [(e.what, e.start_s, e.end_s) for e in sound_events(story, 4.0)] == [
        ("dog", 0.1, 0.2),
        ("dog", 0.2, 0.45),
        ("car", 0.5, 0.75),
        ("car", 1.0, 4.0),
        ("dog", 3.9, 4.0),
    ]


def test_intervals_are_matched_by_overlap():
    found = [SoundEvent(0, 2, "a"), SoundEvent(0.5, 2.5, "a"), SoundEvent(5, 6, "b")]
    true = [SoundEvent(0.5, 2.6, "a"), SoundEvent(5, 7, "b"), SoundEvent(0, 2, "c")]
    assert match_intervals(found, true) == 2
    assert match_intervals(found, true, 0.51) == 1
    assert match_intervals([], true) == 0
    assert math.isnan(temporal_iou([], []))
    assert temporal_iou(found, []) == 0


def test_events_are_matched_best_by_class_and_time():
    rng = random.Random(0)
    for _ in range(100):
        found, true = ([SoundEvent(rng.random(), 2, rng.choice("ab")) for _ in range(rng.randrange(5))] for _ in "xy")
        pairs = match_events(found, true, 0.2)
        assert len({i for i, _ in pairs}) == len({j for _, j in pairs}) == len(pairs)
        assert all(found[i].what == true[j].what for i, j in pairs)
        assert all(abs(found[i].start_s - true[j].start_s) <= 0.2 + 1e-9 for i, j in pairs)
        short, long = sorted((found, true), key=len)
        best = max(
            sum(a.what == b.what and abs(a.start_s - b.start_s) <= 0.2 for a, b in zip(short, order, strict=True))
            for order in itertools.permutations(long, len(short))
        )
        assert len(pairs) == best
