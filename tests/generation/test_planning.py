from __future__ import annotations

import pytest

from prismaudio.builtin import CORE_DIMENSIONS
from prismaudio.components import Dimension
from prismaudio.cot.narration import narrate
from prismaudio.cot.plan import Plan
from prismaudio.cot.story import Source, Story
from prismaudio.generation.planning import (
    completed,
    joint_story,
    merged_sections,
    recast,
    timed,
    unwanted,
    watch,
    worded,
)
from prismaudio.generation.windows import Grid
from prismaudio.types import Clip

BALL = Source("ball", (0.5, 1.0), None, (20.0, 30.0), "small")
CART = Source("cart", (0.2,), 2.0, (-30.0, 10.0), "large")
SEEN = narrate(Story((BALL, CART), "noisy", "room"))


def test_a_prompt_keeps_what_was_seen_of_the_thing_that_it_names():
    plan = worded("A ball bounces", SEEN)
    assert plan["semantic"] == "A ball bounces"
    (ball,) = plan.story.sources
    assert (ball.onsets_s, ball.azimuth_deg) == (BALL.onsets_s, BALL.azimuth_deg)
    assert plan["aesthetic"] == SEEN["aesthetic"]


def test_a_prompt_gives_its_name_to_what_was_seen():
    plan = worded("A bell rings", narrate(Story((BALL,), "noisy", "room")))
    (bell,) = plan.story.sources
    assert (bell.what, bell.onsets_s, bell.azimuth_deg) == ("bell", BALL.onsets_s, BALL.azimuth_deg)
    assert "ball" not in str(plan)


def test_two_things_seen_become_the_two_things_named():
    plan = worded("A bell and an engine", SEEN)
    bell, engine = plan.story.sources
    assert bell.onsets_s == BALL.onsets_s
    assert (engine.onsets_s, engine.end_s) == (CART.onsets_s, CART.end_s)


def test_what_the_prompt_states_wins():
    plan = worded("A bell on the left at 2 s in a large hall", SEEN)
    (bell,) = plan.story.sources
    assert bell.onsets_s == (2.0,)
    assert bell.azimuth_deg[0] < 0
    assert (plan.story.room, plan.story.quality) == ("hall", "noisy")


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
    draft = timed(Plan({"semantic": f"A {what}.", "aesthetic": "Dry acoustics."}), duration_s)
    draft.plan.check(duration_s)
    assert len(draft.notices) == 1
    assert list(draft.plan) == ["semantic", "temporal", "aesthetic"]
    assert all(source.onsets_s and source.onsets_s[0] <= 0.25 * duration_s + 0.6 for source in draft.plan.story.sources)


def test_a_plan_with_times_is_left_alone():
    assert timed(SEEN, 4.0).plan is SEEN
    assert not timed(SEEN, 4.0).notices


def test_default_sections_are_filled_in_and_what_nobody_answers_is_said():
    dimensions = [*CORE_DIMENSIONS, Dimension("loudness", "How loud?", "Moderate."), Dimension("smell", "What smell?")]
    draft = completed(Plan({"temporal": "The bell sounds at 1 s.", "semantic": "A bell.", "spatial": ""}), dimensions)
    assert list(draft.plan) == ["semantic", "temporal", "loudness"]
    assert [notice.split()[3] for notice in draft.notices] == ["aesthetic", "spatial", "smell"]


def test_missing_sections_of_a_given_plan_are_planned_about_its_things():
    given = Plan({"semantic": "A small bell rings.", "aesthetic": "A clean recording. Hall acoustics."})
    plan = merged_sections(given, narrate(Story((BALL,), "noisy", "dry")))
    assert plan["aesthetic"] == given["aesthetic"]
    (bell,) = plan.story.sources
    assert (bell.what, bell.onsets_s) == ("bell", BALL.onsets_s)


def test_negative_words_go_where_they_belong():
    assert list(unwanted("a bell")) == ["semantic"]
    assert list(unwanted("muffled, hall reverb")) == ["aesthetic"]
    assert list(unwanted("whatever")) == ["semantic"]


def test_a_thing_that_goes_on_is_one():
    story = joint_story(
        [
            (0.0, Story((Source("cart", (1.0,), 3.0, (-30, 0)),), "clean")),
            (3.0, Story((Source("cart", (0.0,), 2.0, (0, 20)), Source("bell", (0.5,))), "clean")),
            (6.0, Story((Source("bell", (0.5,)),), "noisy")),
        ]
    )
    cart, bell = story.sources
    assert cart == Source("cart", (1.0,), 5.0, (-30, 20))
    assert bell.onsets_s == (3.5, 6.5)
    assert story.quality == "clean"


class Clockwork:
    """Plans one bell each second of what it is shown, by the number that the first picture carries."""

    def __init__(self) -> None:
        self.shown: list[float] = []

    def plan(self, clip: Clip, dimensions: object) -> Plan:
        self.shown.append(clip.duration_s)
        first_s = float(clip.frames[0, 0, 0, 0]) / 16
        times = tuple(k + 0.25 - first_s for k in range(60) if 0 <= k + 0.25 - first_s < clip.duration_s)
        return narrate(Story((Source("bell", times, None, (0.0, 0.0)),), "clean", "dry"))


@pytest.mark.parametrize("duration_s", [1.0, 3.5, 4.0, 5.5, 10.0, 12.7])
def test_long_clips_are_watched_in_windows_without_losing_or_repeating_anything(duration_s):
    from fractions import Fraction

    import torch

    n = round(duration_s * 16)
    frames = torch.arange(n, dtype=torch.uint8).reshape(n, 1, 1, 1).expand(n, 3, 2, 2)
    planner = Clockwork()
    grid = Grid(Fraction(125, 2), Fraction(16), 4.0)
    plan = watch(planner, Clip("a", duration_s, frames, 16.0), CORE_DIMENSIONS, grid)
    expected = [k + 0.25 for k in range(60) if k + 0.25 < duration_s]
    assert plan.story.sources[0].onsets_s == pytest.approx(expected)
    assert set(planner.shown) == {4.0}
    plan.check(duration_s)
