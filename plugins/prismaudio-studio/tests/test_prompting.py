from __future__ import annotations

import pytest

from prismaudio.plan import Plan
from prismaudio.plan.story import Source, Story
from prismaudio_studio.narration import narrate
from prismaudio_studio.prompting import (
    TIMES_ADDED,
    add_times,
    complete_plan,
    match_sources,
    plan_from_prompt,
    stated_counts,
)
from prismaudio_studio.words import NOUNS

BALL = Source("ball", (0.5, 1.0), None, (20.0, 30.0), "small")
CART = Source("cart", (0.2,), 2.0, (-30.0, 10.0), "large")
DETECTED = narrate(Story((BALL, CART), "noisy", "room"))


def test_a_prompt_keeps_the_detected_times_of_the_source_it_names():
    plan = plan_from_prompt("A ball bounces", DETECTED)
    assert plan["semantic"] == "A ball bounces"
    (ball,) = plan.read(NOUNS).sources
    assert (ball.onsets_s, ball.azimuth_deg) == (BALL.onsets_s, BALL.azimuth_deg)
    assert plan["aesthetic"] == DETECTED["aesthetic"]


def test_a_prompt_renames_the_detected_source():
    plan = plan_from_prompt("A bell rings", narrate(Story((BALL,), "noisy", "room")))
    (bell,) = plan.read(NOUNS).sources
    assert (bell.what, bell.onsets_s, bell.azimuth_deg) == ("bell", BALL.onsets_s, BALL.azimuth_deg)
    assert "ball" not in str(plan)


def test_two_detected_sources_become_the_two_named_ones():
    plan = plan_from_prompt("A bell and an engine", DETECTED)
    bell, engine = plan.read(NOUNS).sources
    assert bell.onsets_s == BALL.onsets_s
    assert (engine.onsets_s, engine.end_s) == (CART.onsets_s, CART.end_s)


def test_the_prompt_takes_precedence():
    plan = plan_from_prompt("A bell on the left at 2 s in a large hall", DETECTED)
    (bell,) = plan.read(NOUNS).sources
    assert bell.onsets_s == (2.0,)
    assert bell.azimuth_deg[0] < 0
    assert (plan.read(NOUNS).room, plan.read(NOUNS).quality) == ("hall", "noisy")


def test_a_prompt_without_known_sources_keeps_the_detected_sections():
    plan = plan_from_prompt("loud and scary", DETECTED)
    assert plan["semantic"] == "loud and scary"
    assert [plan[name] for name in ("temporal", "aesthetic")] == [DETECTED[name] for name in ("temporal", "aesthetic")]


def test_more_names_than_detected_sources_share_them():
    bell, drum = match_sources([Source("bell", ()), Source("drum", ())], [BALL])
    assert bell.onsets_s == drum.onsets_s == BALL.onsets_s


def test_sections_of_other_dimensions_survive_a_prompt():
    assert plan_from_prompt("A bell", DETECTED.replace({"loudness": "Quiet."}))["loudness"] == "Quiet."


@pytest.mark.parametrize("duration_s", [0.2, 0.5, 1.0, 4.0, 12.0])
@pytest.mark.parametrize("what", ["bell", "engine", "bell and an engine and a drum"])
def test_a_plan_without_times_gets_some_within_the_clip(duration_s, what):
    plan = add_times(Plan({"semantic": f"A {what}.", "aesthetic": "Dry acoustics."}), duration_s)
    plan.check(duration_s)
    assert plan.warnings == (TIMES_ADDED,)
    assert list(plan) == ["semantic", "temporal", "aesthetic"]
    assert all(source.onsets_s and source.onsets_s[0] <= 0.25 * duration_s + 0.6 for source in plan.read(NOUNS).sources)


@pytest.mark.parametrize(
    ("text", "n_times"), [("A bell rings twice", 2), ("5 times the drum", 2), ("a drum, 5 times", 5)]
)
def test_stated_counts_are_used(text, n_times):
    plan = add_times(Plan({"semantic": text}), 5.0)
    assert len(plan.read(NOUNS).sources[0].onsets_s) == n_times
    plan.check(4.6)


def test_a_plan_with_times_is_unchanged():
    assert add_times(DETECTED, 4.0) is DETECTED


def test_missing_sections_are_rewritten_for_the_given_sources():
    given = Plan({"semantic": "A small bell rings.", "aesthetic": "A clean recording. Hall acoustics."})
    plan = complete_plan(given, narrate(Story((BALL,), "noisy", "dry")))
    assert plan["aesthetic"] == given["aesthetic"]
    (bell,) = plan.read(NOUNS).sources
    assert (bell.what, bell.onsets_s) == ("bell", BALL.onsets_s)


def test_counts_need_a_named_source():
    assert stated_counts("", ["bell"]) == stated_counts("three times", ["bell"]) == {}


def test_a_prompt_that_is_not_understood_does_not_become_silence():
    assert plan_from_prompt("Eine Glocke läutet", None) == {"semantic": "Eine Glocke läutet"}
    assert plan_from_prompt("läutet in a hall", None) == {
        "semantic": "läutet in a hall",
        "aesthetic": "Hall acoustics.",
    }
