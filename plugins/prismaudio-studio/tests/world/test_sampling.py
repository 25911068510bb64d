from collections import Counter
from itertools import combinations, pairwise

import pytest

from prismaudio.errors import UnknownNameError
from prismaudio.plan.words import QUALITIES, ROOMS
from prismaudio_studio.narration import narrate
from prismaudio_studio.words import CLASSES, LASTING
from prismaudio_studio.world.combinations import is_held_out
from prismaudio_studio.world.sampling import MIN_GAP_S, sample_scene

N = 400


@pytest.fixture(scope="module", params=[("plain", False), ("plain", True), ("randomised", False), ("randomised", True)])
def scenes(request):
    split, held_out = request.param
    return [sample_scene(index, 7, split, held_out=held_out) for index in range(N)]


def test_a_scene_depends_on_its_arguments_alone():
    assert sample_scene(5, 1) == sample_scene(5, 1)
    others = [
        sample_scene(6, 1),
        sample_scene(5, 2),
        sample_scene(5, 1, "randomised"),
        sample_scene(5, 1, held_out=True),
    ]
    assert all(other.things != sample_scene(5, 1).things for other in others)


def test_unknown_split():
    with pytest.raises(UnknownNameError, match="choose one of plain, randomised"):
        sample_scene(0, 0, "plane")


def test_onsets_keep_the_minimum_gap_and_lie_inside(scenes):
    for scene in scenes:
        times = [event.time_s for event in scene.events]
        assert min(times) >= 0.1
        assert max(times) <= scene.duration_s - 0.2
        assert all(b - a >= MIN_GAP_S - 1e-6 for a, b in pairwise(times)), scene.id


def test_truth_is_complete(scenes):
    for scene in scenes:
        whats = [thing.what for thing in scene.things]
        assert len(set(whats)) == len(whats)
        for thing in scene.things:
            assert (thing.end_s is not None) == (thing.what in LASTING)
            assert len(thing.levels_db) == len(thing.onsets_s)
            assert all(-20 <= level <= -8 for level in thing.levels_db)
            assert all(abs(thing.azimuth_deg(t)) <= 60 for t in thing.span_s)
        assert len(scene.events) == sum(len(source.onsets_s) for source in scene.story.sources)


def test_everything_occurs_in_balance(scenes):
    n_most = 4 if scenes[0].split == "randomised" else 3
    assert set(Counter(len(scene.things) for scene in scenes)) == set(range(1, n_most + 1))
    assert set(Counter(thing.what for scene in scenes for thing in scene.things)) == set(CLASSES)
    assert all(count > N / 4 for count in Counter(scene.room for scene in scenes).values())
    qualities = Counter(scene.quality for scene in scenes)
    assert 0.38 < qualities["clean"] / N < 0.54
    assert all(qualities[quality] > 0.12 * N for quality in QUALITIES)


def test_held_out_combinations_are_never_trained_on(scenes):
    for scene in scenes:
        assert is_held_out(tuple(t.what for t in scene.things), scene.room, scene.quality) == scene.held_out


def test_held_out_combinations_cover_all_classes_rooms_and_qualities():
    alone = [(c, r, q) for c in CLASSES for r in ROOMS for q in QUALITIES if is_held_out((c,), r, q)]
    assert 0.2 < len(alone) / (len(CLASSES) * len(ROOMS) * len(QUALITIES)) < 0.3
    assert [len({triple[i] for triple in alone}) for i in range(3)] == [len(CLASSES), len(ROOMS), len(QUALITIES)]
    trained = [not any(is_held_out((c,), "dry", q) for q in ("clean",)) for c in CLASSES]
    assert sum(trained) >= len(CLASSES) // 2
    pairs = [
        pair for pair in combinations(CLASSES, 2)
        if all(is_held_out(pair, r, q) for r in ROOMS for q in QUALITIES)
    ]  # fmt: skip
    assert 8 <= len(pairs) <= 24
    assert {what for pair in pairs for what in pair} == set(CLASSES)


def test_narration_states_the_story(scenes):
    for scene in scenes[:100]:
        parsed = narrate(scene.story).story
        for parsed_source, source in zip(parsed.sources, scene.story.sources, strict=True):
            assert parsed_source.what == source.what
            assert parsed_source.size == source.size
            assert parsed_source.onsets_s == pytest.approx(source.onsets_s, abs=0.00501)
            assert parsed_source.azimuth_deg == pytest.approx(source.azimuth_deg, abs=0.501)
        assert (parsed.quality, parsed.room) == (scene.quality, scene.room)
