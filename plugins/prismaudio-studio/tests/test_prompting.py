from __future__ import annotations

import pytest

from prismaudio.plan import Plan
from prismaudio.plan.story import Source, Story
from prismaudio_studio.narration import narrate
from prismaudio_studio.prompting import CHOSEN, counted, filled_up, recast, timed, worded
from prismaudio_studio.words import NOUNS

BALL = Source("ball", (0.5, 1.0), None, (20.0, 30.0), "small")
CART = Source("cart", (0.2,), 2.0, (-30.0, 10.0), "large")
SEEN = narrate(Story((BALL, CART), "noisy", "room"))


def test_a_prompt_keeps_what_was_seen_of_the_thing_that_it_names():
    plan = worded("A ball bounces", SEEN)
    assert plan["semantic"] == "A ball bounces"
    (ball,) = plan.read(NOUNS).sources
    assert (ball.onsets_s, ball.azimuth_deg) == (BALL.onsets_s, BALL.azimuth_deg)
    assert plan["aesthetic"] == SEEN["aesthetic"]


def test_a_prompt_gives_its_name_to_what_was_seen():
    plan = worded("A bell rings", narrate(Story((BALL,), "noisy", "room")))
    (bell,) = plan.read(NOUNS).sources
    assert (bell.what, bell.onsets_s, bell.azimuth_deg) == ("bell", BALL.onsets_s, BALL.azimuth_deg)
    assert "ball" not in str(plan)


def test_two_things_seen_become_the_two_things_named():
    plan = worded("A bell and an engine", SEEN)
    bell, engine = plan.read(NOUNS).sources
    assert bell.onsets_s == BALL.onsets_s
    assert (engine.onsets_s, engine.end_s) == (CART.onsets_s, CART.end_s)


def test_what_the_prompt_states_wins():
    plan = worded("A bell on the left at 2 s in a large hall", SEEN)
    (bell,) = plan.read(NOUNS).sources
    assert bell.onsets_s == (2.0,)
    assert bell.azimuth_deg[0] < 0
    assert (plan.read(NOUNS).room, plan.read(NOUNS).quality) == ("hall", "noisy")


def test_a_prompt_about_nothing_known_leaves_the_rest_as_seen():
    plan = worded("loud and scary", SEEN)
    assert plan["semantic"] == "loud and scary"
    assert [plan[name] for name in ("temporal", "aesthetic")] == [SEEN[name] for name in ("temporal", "aesthetic")]


def test_more_names_than_things_share_what_was_seen():
    bell, drum = recast([Source("bell", ()), Source("drum", ())], [BALL])
    assert bell.onsets_s == drum.onsets_s == BALL.onsets_s


def test_sections_of_other_dimensions_survive_a_prompt():
    assert worded("A bell", SEEN.replace({"loudness": "Quiet."}))["loudness"] == "Quiet."


@pytest.mark.parametrize("duration_s", [0.2, 0.5, 1.0, 4.0, 12.0])
@pytest.mark.parametrize("what", ["bell", "engine", "bell and an engine and a drum"])
def test_a_plan_without_times_gets_some_within_the_clip(duration_s, what):
    plan = timed(Plan({"semantic": f"A {what}.", "aesthetic": "Dry acoustics."}), duration_s)
    plan.check(duration_s)
    assert plan.warnings == (CHOSEN,)
    assert list(plan) == ["semantic", "temporal", "aesthetic"]
    assert all(source.onsets_s and source.onsets_s[0] <= 0.25 * duration_s + 0.6 for source in plan.read(NOUNS).sources)


@pytest.mark.parametrize(
    ("text", "n_times"), [("A bell rings twice", 2), ("5 times the drum", 2), ("a drum, 5 times", 5)]
)
def test_words_that_say_how_often_are_heeded(text, n_times):
    plan = timed(Plan({"semantic": text}), 5.0)
    assert len(plan.read(NOUNS).sources[0].onsets_s) == n_times
    plan.check(4.6)


def test_a_plan_with_times_is_left_alone():
    assert timed(SEEN, 4.0) is SEEN


def test_missing_sections_of_a_given_plan_are_planned_about_its_things():
    given = Plan({"semantic": "A small bell rings.", "aesthetic": "A clean recording. Hall acoustics."})
    plan = filled_up(given, narrate(Story((BALL,), "noisy", "dry")))
    assert plan["aesthetic"] == given["aesthetic"]
    (bell,) = plan.read(NOUNS).sources
    assert (bell.what, bell.onsets_s) == ("bell", BALL.onsets_s)


def test_nothing_is_counted_where_nothing_is_named():
    assert counted("", ["bell"]) == counted("three times", ["bell"]) == {}


def test_a_prompt_that_is_not_understood_does_not_become_silence():
    assert worded("Eine Glocke läutet", None) == {"semantic": "Eine Glocke läutet"}
    assert worded("läutet in a hall", None) == {"semantic": "läutet in a hall", "aesthetic": "Hall acoustics."}
