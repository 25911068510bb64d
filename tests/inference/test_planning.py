"""Whose plan it is, and what of it a model cannot follow."""

from __future__ import annotations

import pytest
import torch

from prismaudio.builtin import CORE_DIMENSIONS
from prismaudio.components import Dimension
from prismaudio.encoders.base import Encoder
from prismaudio.errors import MediaError, PlanError
from prismaudio.inference.planning import (
    negative_plan,
    unknown_text_warnings,
    with_default_sections,
    write_plan,
    write_plans,
)
from prismaudio.plan import Plan
from prismaudio.plan.nouns import Nouns, clauses
from prismaudio.planners import Planner
from prismaudio.types import Clip

SEEN = Clip("a", 2.0, torch.zeros(4, 3, 8, 8, dtype=torch.uint8), 2.0)
UNSEEN = Clip("a", 2.0)


class Asked(Planner):
    """Remembers what it was given."""

    def plan(self, clip, dimensions, given=None):
        self.given = given
        return Plan({"temporal": "The dog barks at 1 s."}, ["planned"])


@pytest.mark.parametrize(
    ("given", "prompt", "expected"),
    [
        (None, "", None),
        (None, "a dog", "a dog"),
        (Plan({"spatial": "Left."}), "", Plan({"spatial": "Left."})),
        (Plan({"semantic": "A cat.", "spatial": "Left."}), "a dog", Plan({"semantic": "a dog", "spatial": "Left."})),
    ],
)
def test_the_planner_is_given_the_prompt_or_the_plan_with_the_prompt_in_it(given, prompt, expected):
    planner = Asked()
    plan = write_plan([planner], SEEN, CORE_DIMENSIONS, given, prompt)
    assert (planner.given, type(planner.given)) == (expected, type(expected))
    assert dict(plan) == {"temporal": "The dog barks at 1 s."}
    assert plan.warnings[0] == "planned"


def test_without_a_planner_what_is_given_is_the_plan():
    plan = write_plan([], UNSEEN, CORE_DIMENSIONS, Plan({"spatial": "Left."}), "a dog, twice")
    assert list(plan.items()) == [("semantic", "a dog, twice"), ("spatial", "Left.")]
    assert dict(write_plan([], UNSEEN, CORE_DIMENSIONS, prompt="a dog")) == {"semantic": "a dog"}
    with pytest.raises(PlanError, match="no planner; give a plan or a prompt"):
        write_plan([], SEEN, CORE_DIMENSIONS)
    with pytest.raises(PlanError, match="there is nothing to plan from"):
        write_plan([Asked()], UNSEEN, CORE_DIMENSIONS)


@pytest.mark.parametrize("planners", [[], [Asked()]])
def test_nothing_happens_after_the_end_of_the_clip(planners):
    with pytest.raises(PlanError, match=r"but the clip lasts 0\.50 s"):
        write_plan(planners, Clip("a", 0.5), CORE_DIMENSIONS, prompt="a dog barks at 1 s")


class Writer(Planner):
    """Writes fixed sections where none are given."""

    def __init__(self, texts, origins=None, warnings=()):
        self.texts, self.origins, self.warnings, self.times = texts, origins or {}, warnings, 0

    def plan(self, clip, dimensions, given=None):
        self.times += 1
        given = Plan({"semantic": given}) if isinstance(given, str) else given or {}
        return Plan({**self.texts, **{name: text for name, text in given.items() if text}}, self.warnings, self.origins)


class Second(Writer):
    """Another class, so that origins differ."""


def test_each_planner_completes_what_the_ones_before_left_out():
    record = {"temporal": {"asked": 2, "model": "owner/model"}}
    first = Writer({"semantic": "A cat.", "temporal": "The cat sounds at 0.1 s."}, record, ["no direction found"])
    second = Second({"semantic": "A dog.", "temporal": "At 0.2 s.", "spatial": "The cat is on the left."})
    third = Writer({"aesthetic": "A clean recording."})
    fourth = Writer({"semantic": "never"})
    plan = write_plan([first, second, third, fourth], SEEN, CORE_DIMENSIONS, prompt="a cat")
    assert dict(plan) == {
        "semantic": "a cat",
        "temporal": "The cat sounds at 0.1 s.",
        "aesthetic": "A clean recording.",
        "spatial": "The cat is on the left.",
    }
    assert plan.origins == {
        "semantic": {"planner": "user"},
        "temporal": {"planner": "Writer", "asked": 2, "model": "owner/model"},
        "aesthetic": {"planner": "Writer"},
        "spatial": {"planner": "Second"},
    }
    assert plan.warnings == ("no direction found",)
    assert (third.times, fourth.times) == (1, 0)


def test_a_planner_is_given_the_clips_that_lack_sections_together_and_a_bad_one_fails_alone():
    class Together(Writer):
        def __init__(self, texts):
            super().__init__(texts)
            self.batches = []

        def plan(self, clip, dimensions, given=None):
            if clip.id == "bad":
                raise MediaError("it is broken")
            return super().plan(clip, dimensions, given)

        def plan_batch(self, clips, dimensions, given=None):
            self.batches.append([clip.id for clip in clips])
            return super().plan_batch(clips, dimensions, given)

    whole = dict.fromkeys(("semantic", "temporal", "aesthetic", "spatial"), "A text.")
    first, second = Together({"semantic": "A cat."}), Together(whole)
    clips = [Clip(name, 2.0) for name in ("a", "b", "c")]
    given = [None, Plan({"temporal": "x", "aesthetic": "x", "spatial": "x"}), None]
    plans = write_plans([first, second], clips, CORE_DIMENSIONS, given, ["a dog", "", ""])
    assert [dict(plan)["semantic"] for plan in plans[:2]] == ["a dog", "A cat."]
    assert isinstance(plans[2], PlanError)
    assert "nothing to plan from" in str(plans[2])
    assert (first.batches, second.batches) == ([["a", "b"]], [])  # one clip is planned without a batch
    assert [first.times, second.times] == [2, 1]
    made = write_plans([second], [Clip("a", 2.0), Clip("bad", 2.0)], CORE_DIMENSIONS, [None] * 2, ["a dog"] * 2)
    assert dict(made[0]) == whole | {"semantic": "a dog"}
    assert isinstance(made[1], MediaError)


def test_a_section_that_a_planner_changed_is_its_own():
    class Editor(Planner):
        def plan(self, clip, dimensions, given=None):
            return Plan(given).replace({"spatial": "On the right."})

    plan = write_plan([Editor()], SEEN, CORE_DIMENSIONS, Plan({"semantic": "A dog.", "spatial": "Left."}))
    assert {name: origin["planner"] for name, origin in plan.origins.items()} == {
        "semantic": "user",
        "spatial": "Editor",
    }
    default = with_default_sections(plan, [Dimension("loudness", "How loud?", "Moderate.")])
    assert default.origins["loudness"] == {"planner": "default"}


def test_a_plan_without_a_section_is_an_error_with_the_reasons():
    with pytest.raises(PlanError, match="no planner wrote a section: the endpoint is silent"):
        write_plan([Writer({}, warnings=["the endpoint is silent"])], SEEN, CORE_DIMENSIONS)


def test_default_sections_are_filled_in_and_unanswered_ones_are_reported():
    dimensions = [*CORE_DIMENSIONS, Dimension("loudness", "How loud?", "Moderate."), Dimension("smell", "What smell?")]
    plan = with_default_sections(
        Plan({"temporal": "The bell sounds at 1 s.", "semantic": "A bell.", "spatial": ""}), dimensions
    )
    assert list(plan) == ["semantic", "temporal", "loudness"]
    assert [warning.split()[4] for warning in plan.warnings] == ["aesthetic", "spatial", "smell"]


def test_negative_words_go_where_they_belong():
    assert list(negative_plan("a bell")) == ["semantic"]
    assert list(negative_plan("muffled, hall reverb")) == ["aesthetic"]
    assert list(negative_plan("whatever")) == ["semantic"]


class Knowing(Encoder):
    """Knows things by name; any text where it is given none."""

    dim = 1

    def __init__(self, vocabulary, rate_hz=None):
        self.vocabulary, self.rate_hz = vocabulary, rate_hz

    def encode(self, clip, plan):
        return torch.zeros(0, 1)

    def unknown(self, text):
        if self.vocabulary is None:
            return super().unknown(text)
        return [clause for clause in clauses(text) if not Nouns(self.vocabulary).mentions(clause)]


def test_what_is_not_understood_is_quoted_briefly():
    things = [f"thing{i}" for i in range(30)]
    text = "thing1, " + ", ".join(f"{letter}" * 500 for letter in "abcde")
    (warning,) = unknown_text_warnings([text], [Knowing(things)])
    assert warning.startswith("not understood: 'aaa")
    assert warning.endswith(" and 2 more; the model's vocabulary: " + ", ".join(things[:20]) + " and 10 more")
    assert len(warning) < 500
    assert unknown_text_warnings(["thing2"], [Knowing(things)]) == unknown_text_warnings([], [Knowing(things)]) == []


def test_a_text_is_understood_where_one_encoder_understands_it():
    bell, drum = Knowing(["bell"]), Knowing(["drum"])
    assert unknown_text_warnings(["A bell, a drum."], [bell, drum]) == []
    (warning,) = unknown_text_warnings(["A dog."], [bell, drum])
    assert (
        warning == "no known sound is mentioned in 'A dog', so the model cannot follow it; its vocabulary: bell, drum"
    )
    assert unknown_text_warnings(["A dog."], [bell, Knowing(None)]) == []  # any text
    assert unknown_text_warnings(["A dog."], [bell, Knowing(None, rate_hz=8.0)]) == [
        warning.replace("bell, drum", "bell")
    ]  # one that reads no text
    assert unknown_text_warnings(["A dog."], [Knowing(None, rate_hz=8.0)]) == []
