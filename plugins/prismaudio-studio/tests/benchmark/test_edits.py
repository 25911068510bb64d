"""Each edit changes only its attribute."""

import random

import pytest

from prismaudio.plan.story import Source, Story
from prismaudio_studio.benchmark.edits import edit
from prismaudio_studio.words import CLASSES, LASTING

STRUCK = Story((Source("bell", (0.7, 1.4), azimuth_deg=(-30.0, -20.0), size="small"),), "noisy", "hall")
HUM = Story((Source("engine", (1.0,), 3.2, (40.0, 40.0)),), "clean", "dry")


@pytest.mark.parametrize("story", [STRUCK, HUM])
def test_class_changes_to_another_of_the_same_kind(story) -> None:
    edited_classes = {edit("edit_class", story, 4.0, random.Random(seed)).sources[0].what for seed in range(60)}
    lasting = story.sources[0].end_s is not None
    assert edited_classes == {what for what in CLASSES if (what in LASTING) == lasting} - {story.sources[0].what}


@pytest.mark.parametrize("story", [STRUCK, HUM])
def test_all_times_move_by_half_a_second(story) -> None:
    for seed in range(10):
        before, after = story.sources[0], edit("edit_time", story, 4.0, random.Random(seed)).sources[0]
        shifts = {round(b - a, 4) for a, b in zip(before.onsets_s, after.onsets_s, strict=True)}
        if before.end_s is not None:
            shifts.add(round(after.end_s - before.end_s, 4))
        assert shifts in ({0.5}, {-0.5})
        assert after.azimuth_deg == before.azimuth_deg


def test_a_shift_stays_in_the_clip() -> None:
    assert {
        edit("edit_time", Story((Source("bell", (0.3,)),)), 4.0, random.Random(s)).sources[0].onsets_s for s in range(9)
    } == {(0.8,)}
    assert edit("edit_time", Story((Source("bell", (0.3, 3.8)),)), 4.0, random.Random(0)) is None


def test_sides_are_exchanged() -> None:
    assert edit("edit_side", STRUCK, 4.0, random.Random(0)).sources[0].azimuth_deg == (30.0, 20.0)
    assert edit("edit_side", Story((Source("bell", (1.0,), azimuth_deg=(5.0, 5.0)),)), 4.0, random.Random(0)) is None


def test_only_the_first_source_stays_and_the_recording_is_the_same() -> None:
    both = Story((*STRUCK.sources, *HUM.sources), "noisy", "hall")
    edited = edit("edit_side", both, 4.0, random.Random(0))
    assert [source.what for source in edited.sources] == ["bell"]
    assert (edited.quality, edited.room) == ("noisy", "hall")


def test_an_empty_story_has_no_edit() -> None:
    assert edit("edit_class", Story(), 4.0, random.Random(0)) is None
