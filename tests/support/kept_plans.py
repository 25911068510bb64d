"""A plan that was written is the plan that is rendered, and no subset of its sections is too little."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import pytest
import torch

from prismaudio.builtin import CORE_DIMENSIONS
from prismaudio.inference import PrismAudio
from prismaudio.plan import CORE, Plan
from prismaudio.samplers.euler import EulerSampler
from prismaudio.types import Clip

if TYPE_CHECKING:
    from prismaudio.components import Dimension
    from prismaudio.planners import Planner

PROMPTS = [
    "#asmr a glass clinks", "I <3 a glass that clinks", "<Semantic> a bell", "</Semantic>", "a bell\n# and a drum\r\n",
    "\\<", "\ufeff# a bell", "\u202ea bell\u202c", "a \ud800 bell", "a\x00bell", "Eine Glocke läutet", "铃响了", " ",
    "a bell and an engine", "a dog- barks", "an engine, twice", "from 0.5 s to 1 s", "loud and scary in a hall",
]  # fmt: skip
PLANS = [
    "<Semantic> A small bell rings twice. <Temporal> At 0.50 s and 1 s. <Aesthetic> Dry. <Spatial> The bell is left.",
    "<Semantic> A dog barks. <Temporal> The drum sounds at 0.5 s. <Aesthetic> Velvety. <Spatial> The coin is left.",
    "<Semantic> Eine Glocke. <Temporal> bei 1 s <Aesthetic> schön <Spatial> links",
    "<Semantic> An engine, twice; five times a bell. <Temporal> From 1 s to 1.5 s. <Aesthetic> <Spatial> All left.",
    "<Semantic> <Temporal> Steady. <Aesthetic> A noisy hall. <Spatial> The marble moves from left to right.",
]
SEEN = Plan.parse(
    "<Semantic> A ball and a cart. <Temporal> The ball at 0.5 s; the cart from 1 s to 1.5 s. <Aesthetic> A noisy room."
)
"""What a planner may see in every clip."""


class WatchingModel(PrismAudio):
    """Does not look for plugins each time."""

    @property
    def dimensions(self) -> list[Dimension]:
        return list(CORE_DIMENSIONS)


def clip(*, with_frames: bool) -> Clip:
    frames = torch.zeros(32, 3, 48, 48, dtype=torch.uint8)
    return Clip("a", 2.0, frames, 16.0) if with_frames else Clip("a", 2.0)


@pytest.mark.parametrize("with_frames", [False, True])
class KeptPlans:
    """Tests of the tiny model with a planner of this class."""

    planner: type[Planner]

    @pytest.fixture
    def model(self, tiny_model):
        parts = (tiny_model.transformer, tiny_model.autoencoder, tiny_model.encoders)
        return WatchingModel(*parts, self.planner(), EulerSampler(1))

    def check(self, plan: Plan, given: Plan) -> None:
        """See that what was given is in the plan."""
        kept = {name: text for name, text in given.items() if text}
        assert {name: plan[name] for name in kept} == kept

    @pytest.mark.parametrize("prompt", PROMPTS)
    def test_the_plan_of_any_prompt_is_the_same_when_it_is_read_back(self, model, tmp_path, prompt, with_frames):
        seen = clip(with_frames=with_frames)
        if not prompt.strip() and not with_frames:
            return
        written = model.plan(seen, prompt)
        written.save(tmp_path / "plan.txt")
        given = model.read_plan(tmp_path / "plan.txt")
        assert list(model.plan(seen, given=given).items()) == list(written.items())
        assert model.plan(seen, given=model.read_plan(str(written))) == written

    @pytest.mark.parametrize("text", PLANS)
    def test_every_subset_of_the_sections_of_a_plan_can_be_rendered(self, model, text, with_frames):
        whole, seen = Plan.parse(text), clip(with_frames=with_frames)
        subsets = [names for count in range(not with_frames, 5) for names in itertools.combinations(CORE, count)]
        plans = []
        for names in subsets:
            given = Plan({name: whole[name] for name in names})
            plan = model.plan(seen, given=given)
            self.check(plan, given)
            assert model.plan(seen, "a bell, three times", given)["semantic"] == "a bell, three times"
            plans.append(plan)
        some = plans[5::10]
        made = model.render([seen] * len(some), some, range(len(some)))
        assert all(bool(audio.isfinite().all()) for audio in made)
