"""The choice of clips for a suite: conditions, balance, ids."""

from __future__ import annotations

import random
from collections import Counter

import pytest

from prismaudio.errors import PrismAudioError
from prismaudio.evaluation.comparison import check_ids
from prismaudio.evaluation.selection import Candidate, Condition, anonymous_ids, balance, solved_clips


def clips(**counts):
    return [Candidate(f"{name}-{index}", (name,)) for name, n in counts.items() for index in range(n)]


def several(*classes):
    return [Candidate(f"multi-{index}", tuple(names)) for index, names in enumerate(classes)]


def ids(selection):
    return [one.id for one in selection.chosen]


@pytest.mark.parametrize(
    ("text", "holds"),
    [("CLAP>=0.5", 0.5), ("CLAP <= -1", -1.0), ("CLAP>0.5", 0.51), ("{a: b}<1e-3", 0.0)],
)
def test_conditions(text, holds):
    condition = Condition.parse(text)
    assert condition.holds(holds)
    assert not condition.holds(None)
    assert Condition.parse(str(condition)) == condition


@pytest.mark.parametrize("text", ["CLAP", "CLAP=0.5", ">=0.5", "CLAP>=high", "CLAP>=nan", "CLAP>=inf", ""])
def test_what_is_no_condition(text):
    with pytest.raises(PrismAudioError, match="is no condition; expected a score"):
        Condition.parse(text)


def test_a_clip_is_solved_if_all_conditions_hold_for_all_systems_or_for_any():
    scores = {
        "one": {
            "a": {"CLAP": 0.6, "DeSync": 0.1},
            "b": {"CLAP": 0.6, "DeSync": 0.9},
            "c": {"CLAP": 0.6, "DeSync": 0.1},
        },
        "two": {"a": {"CLAP": 0.7, "DeSync": 0.1}, "b": {"CLAP": 0.7, "DeSync": 0.1}},
    }
    rules = [Condition.parse("CLAP>=0.5"), Condition.parse("DeSync<0.2")]
    assert solved_clips(scores, rules, "all") == {"a": "one, two"}  # two has no score of c
    assert solved_clips(scores, rules, "any") == {"a": "one, two", "b": "two", "c": "one"}
    assert solved_clips(scores, [], "any") == {}


def test_no_class_has_more_than_its_share_and_the_next_clips_are_spare():
    found = balance(clips(Dog=50, Bell=3, Rain=1), 4)
    assert Counter(one.classes[0] for one in found.chosen) == {"Dog": 4, "Bell": 3, "Rain": 1}
    assert Counter(one.classes[0] for one in found.spare) == {"Dog": 4}
    assert set(found.left) == {f"Dog-{i}" for i in range(50)} - set(ids(found))
    assert set(found.left.values()) == {"Dog has 4 single-event clips already"}


def test_classes_with_too_few_are_left_out():
    found = balance(clips(Dog=5, Rain=1), 4, min_per_class=2)
    assert {one.classes[0] for one in found.chosen} == {"Dog"}
    assert found.left["Rain-0"] == "Rain has 1 single-event clips, fewer than 2"


def test_the_choice_follows_the_seed_and_not_the_order_or_other_clips():
    given = clips(Dog=40, Bell=9)
    first = ids(balance(given, 5, seed=1))
    shuffled = random.Random(0).sample(given, len(given))
    assert ids(balance(shuffled, 5, seed=1)) == first
    assert ids(balance([*given, *clips(Cat=9)], 5, seed=1))[-5:] != []
    assert [one for one in ids(balance([*given, *clips(Cat=9)], 5, seed=1)) if not one.startswith("Cat")] == first
    assert ids(balance(given, 5, seed=2)) != first


def test_clips_that_a_person_keeps_are_chosen_first():
    given = clips(Dog=40)
    kept = [Candidate(one.id, one.classes, one.id in ("Dog-3", "Dog-31")) for one in given]
    assert set(ids(balance(kept, 2))) == {"Dog-3", "Dog-31"}


def test_multi_event_clips_are_balanced_over_their_classes():
    common = [("Dog", "Rain")] * 60 + [("Dog", "Wind")] * 20
    rare = [("Bell", "Horn"), ("Cat", "Dog"), ("Cat", "Wind")]
    found = balance(several(*common, *rare), 100, n_multi=8)
    counts = Counter(name for one in found.chosen for name in one.classes)
    assert len(found.chosen) == 8
    assert counts["Bell"] == counts["Horn"] == 1
    assert (counts["Rain"], counts["Wind"], counts["Cat"]) == (3, 3, 2)  # 60 of 83 clips are of rain
    capped = balance(several(*common, *rare), 2)
    assert max(Counter(name for one in capped.chosen for name in one.classes).values()) == 2
    assert balance(several(*common), 2, n_multi=0).chosen == []
    assert 0 < len(found.spare) <= 8


def test_ids_tell_the_class_alone_and_name_files():
    names = ["Dog", "dog", 'Hiss/"steam"', "Hiss steam", "St. Bernard", "..", "C" * 300, "Glocke 🔔", "Multiple events"]
    chosen = [Candidate(f"/home/me/{index}.mp4", (name,)) for index, name in enumerate(names)]
    chosen += several(("Bell", "Dog"), ("Cat", "Dog"))
    found = anonymous_ids(chosen)
    check_ids(list(found.values()))
    assert list(found.values())[:6] == ["Dog_1", "Dog_2", "Hiss steam_1", "Hiss steam_2", "St Bernard_1", "Class_1"]
    assert list(found.values())[-3:] == ["Multiple events_1", "Multiple events_2", "Multiple events_3"]
    assert not any(character in name for name in found.values() for character in '<>:"/\\|?*.')
