"""Contract check of planners."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING

import torch

from prismaudio.checkpoints import Configured, description, fresh
from prismaudio.errors import CheckpointError, PrismAudioError, truncated
from prismaudio.plan import CORE, Plan
from prismaudio.plan.checking import contradictions, section_problems
from prismaudio.planners.base import Planner
from prismaudio.registry import discover
from prismaudio.testing.check import Check, NotTriedError
from prismaudio.testing.examples import example_clip, without

if TYPE_CHECKING:
    from collections.abc import Sequence

    from prismaudio.components import Dimension
    from prismaudio.types import Clip

PROMPT = "A large gong rings with a long metallic tone."
GIVEN = {"semantic": PROMPT, "aesthetic": "A muffled recording, hall acoustics."}
"""Sections that contradict nothing that a planner finds in a clip."""


def check_planner(
    planner: Planner,
    *,
    clip: Clip | None = None,
    dimensions: Sequence[Dimension] | None = None,
    is_trained: bool = True,
) -> None:
    """Check that a planner fulfils the contract of :class:`prismaudio.planners.base.Planner`.

    It must write a :class:`prismaudio.plan.Plan` whose sections are those asked for, in plain sentences, with times
    within the clip; write the same again, unless it has a ``temperature``; plan clips in a batch as it does each alone;
    keep a prompt and given sections verbatim; plan a clip without frames or raise an error of one line; and leave the
    clip unchanged. Arguments of one that is :class:`prismaudio.checkpoints.Configured` must create the same planner
    again.

    Args:
        planner: The planner.
        clip: A clip that it can plan; by default six seconds of a gong.
        dimensions: The dimensions asked for; by default all that are installed.
        is_trained: Whether the weights of a network are trained. The sentences of one with random weights are not
            checked, only the form of its plans.

    Raises:
        NonconformingError: It violates the contract; the message states how, in one line.
        NotTriedError: It cannot plan the clip.

    Example:
        >>> class Rain(Planner):
        ...     "Writes that it rains."
        ...     def plan(self, clip, dimensions, given=None):
        ...         return "It rains."
        >>> check_planner(Rain())
        Traceback (most recent call last):
        prismaudio.testing.check.NonconformingError: Rain: planning: it must return a Plan, not the str 'It rains.'
    """
    check = _PlannerCheck(planner, clip or example_clip(), dimensions, is_trained=is_trained)
    check.require(isinstance(planner, Planner), "it is not a Planner")
    before = [None if tensor is None else tensor.clone() for tensor in (check.clip.frames, check.clip.audio)]
    plan = check.first_plan()
    check.repeats(plan)
    check.keeps_what_is_given(plan)
    check.takes_one_dimension()
    check.takes_clips_without_frames()
    check.plans_a_batch(plan)
    for old, new in zip(before, (check.clip.frames, check.clip.audio), strict=True):
        check.require(old is None or (new is not None and torch.equal(old, new)), "it modifies the clip in place")
    check.can_be_created_again()


class _PlannerCheck(Check):
    """The checks of one planner on one clip."""

    def __init__(
        self, planner: Planner, clip: Clip, dimensions: Sequence[Dimension] | None, *, is_trained: bool
    ) -> None:
        super().__init__(planner)
        self.planner, self.clip, self.is_trained = planner, clip, is_trained
        self.dimensions = discover().dimensions() if dimensions is None else list(dimensions)
        self.config = planner.config if isinstance(planner, Configured) else {}
        self.samples = bool(self.config.get("temperature", getattr(planner, "temperature", None)))

    def first_plan(self) -> Plan:
        """The plan of the clip.

        Raises:
            NotTriedError: The planner cannot plan it.
        """
        with self.during("planning"):
            try:
                plan = self.planner.plan(self.clip, self.dimensions)
            except CheckpointError:
                raise
            except PrismAudioError as error:
                raise NotTriedError(f"{self.name}: pass a clip that it can plan: {error}") from error
        self._check_form(plan, "planning")
        if plan.unanswered:
            raise NotTriedError(f"{self.name}: its model does not answer: {'; '.join(plan.unanswered.values())}")
        self.require(len(plan) > 0, "planning: it writes no section")
        self._check_sections(plan, self.clip, "planning")
        return plan

    def repeats(self, plan: Plan) -> None:
        """Check that the plan is the same when it is written again."""
        if not self.samples:
            torch.rand(1)  # advances the random state
            again = self._plan(self.clip, None, "planning again")
            self.require(dict(again) == dict(plan), f"planning again, it writes {_brief(again)}, not {_brief(plan)}")

    def keeps_what_is_given(self, plan: Plan) -> None:
        """Check that a prompt becomes the semantic section, and that sections which contradict nothing are kept."""
        if any(dimension.name == "semantic" for dimension in self.dimensions):
            prompted = self._plan(self.clip, PROMPT, "planning with a prompt")
            found = prompted.get("semantic")
            self.require(found == PROMPT, f"the prompt {PROMPT!r} must become the semantic section, not {found!r}")
            self._check_sections(prompted, self.clip, "planning with a prompt")
        names = [dimension.name for dimension in self.dimensions]
        plans = [{name: text for name, text in GIVEN.items() if name in names}]
        for given in [*plans, *([] if contradictions(plan) else [dict(plan)])]:  # contradictions may be resolved
            what = f"completing a plan with {', '.join(given) or 'no'} section{'s' * (len(given) != 1)}"
            completed = self._plan(self.clip, Plan(given), what)
            for name, text in given.items():
                found = completed.get(name)
                kept = f"{what}: the given {name} section {_brief(text)} must be kept"
                self.require(found == text, f"{kept}, not replaced by {_brief(found)}")

    def takes_one_dimension(self) -> None:
        """Check that it writes a section alone, beside which it may write core ones that are not asked for."""
        if not self.dimensions:
            return
        one = self.dimensions[0]
        plan = self._plan_or_error(self.clip, None, f"asked for the {one.name} section alone", [one])
        for name in plan or ():
            self.require(name in (one.name, *CORE), f"it writes the {name} section, which is not asked for")

    def takes_clips_without_frames(self) -> None:
        """Check that it plans a clip without frames, or raises an error that can be shown to a user."""
        bare = replace(without(self.clip, Plan({}), "video")[0], audio=None, sample_rate_hz=None)
        for given, what in ((None, "planning a clip without frames"), (PROMPT, "planning a prompt without frames")):
            plan = self._plan_or_error(bare, given, what, self.dimensions)
            if plan is not None:
                self._check_sections(plan, bare, what)

    def plans_a_batch(self, plan: Plan) -> None:
        """Check the plans of the first half of the clip and of the clip, written together."""
        half = _first_half(self.clip)
        alone = self._plan_or_error(half, None, "planning half of the clip", self.dimensions)
        if alone is None:
            return
        what = "planning two clips together"
        with self.during(what):
            plans = self.planner.plan_batch([half, self.clip], self.dimensions)
        self.require(len(plans) == 2, f"{what}: it writes {len(plans)} plans")
        for found, expected in zip(plans, (alone, plan), strict=True):
            self._check_form(found, what)
            same = self.samples or not self.is_trained or dict(found) == dict(expected)  # noise has near ties
            self.require(same, f"{what}, it writes {_brief(found)}; alone, {_brief(expected)}")

    def can_be_created_again(self) -> None:
        """Check that its arguments can be written to a model folder and create the same planner."""
        with self.during("describing what its texts depend on"):
            json.dumps(self.planner.description())
        if isinstance(self.planner, Configured):
            with self.during("creating it again from its arguments"):
                stored = json.dumps(description(self.planner))
                again = json.dumps(description(type(self.planner)(**fresh(self.planner.config))))
            self.require(stored == again, f"created again from its arguments, it has {again}, not {stored}")

    def _plan(self, clip: Clip, given: str | Plan | None, what: str) -> Plan:
        with self.during(what):
            plan = self.planner.plan(clip, self.dimensions, given)
        self._check_form(plan, what)
        return plan

    def _plan_or_error(self, clip: Clip, given: str | None, what: str, dimensions: Sequence[Dimension]) -> Plan | None:
        """The plan, or None for an error that can be shown to a user."""
        with self.during(what):
            try:
                plan = self.planner.plan(clip, dimensions, given)
            except PrismAudioError as error:
                lines = str(error).splitlines()
                self.require(len(lines) == 1, f"{what}: an error must be one line, not {str(error)!r}")
                return None
        self._check_form(plan, what)
        return plan

    def _check_form(self, plan: object, what: str) -> None:
        """Check what must hold for a network with random weights, too."""
        found = f"{type(plan).__name__} {_brief(plan)}"
        self.require(isinstance(plan, Plan), f"{what}: it must return a Plan, not the {found}")

    def _check_sections(self, plan: Plan, clip: Clip, what: str) -> None:
        known = [dimension.name for dimension in self.dimensions]
        for name, text in plan.items():
            self.require(name in known, f"{what}: it writes the section {name!r}; asked for are {', '.join(known)}")
            self.require(bool(text.strip()), f"{what}: the {name} section is empty; leave it out")
            problems = section_problems(name, text, clip.duration_s) if self.is_trained else []
            self.require(not problems, f"{what}: the {name} section {_brief(text)} is wrong: {'; '.join(problems)}")
        with self.during(what):
            plan.check(clip.duration_s)


def _brief(text: object) -> str:
    return repr(truncated(str(text), 80))


def _first_half(clip: Clip) -> Clip:
    """The first half of a clip, whose frames and audio are views."""
    frames = None if clip.frames is None else clip.frames[: (len(clip.frames) + 1) // 2]
    audio = None if clip.audio is None else clip.audio[:, : clip.audio.shape[-1] // 2]
    return replace(clip, id=f"{clip.id} half", duration_s=clip.duration_s / 2, frames=frames, audio=audio)
