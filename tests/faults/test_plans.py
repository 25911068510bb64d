"""A plan that was written is the plan that is rendered, and no subset of its sections is too little."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import pytest
import torch

from prismaudio.builtin import CORE_DIMENSIONS
from prismaudio.inference import PrismAudio
from prismaudio.plan import CORE, Plan
from prismaudio.planners import Planner
from prismaudio.samplers.euler import EulerSampler
from prismaudio.types import Clip

if TYPE_CHECKING:
    from collections.abc import Sequence

    from prismaudio.components import Dimension

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


class Watcher(Planner):
    """Sees the same in every clip."""

    def plan(self, clip: Clip, dimensions: Sequence[Dimension], given: str | Plan | None = None) -> Plan:
        texts = {"semantic": given} if isinstance(given, str) else dict(given or {})
        return SEEN.replace(texts) if clip.frames is not None else Plan(texts)


class WatchingModel(PrismAudio):
    """Does not look for plugins each time."""

    @property
    def dimensions(self) -> list[Dimension]:
        return list(CORE_DIMENSIONS)


@pytest.fixture
def watching_model(tiny_model):
    return WatchingModel(
        tiny_model.transformer, tiny_model.autoencoder, tiny_model.encoders, Watcher(), EulerSampler(1)
    )


def clip(*, with_frames: bool) -> Clip:
    frames = torch.zeros(32, 3, 48, 48, dtype=torch.uint8)
    return Clip("a", 2.0, frames, 16.0) if with_frames else Clip("a", 2.0)


@pytest.mark.parametrize("with_frames", [False, True])
@pytest.mark.parametrize("prompt", PROMPTS)
def test_the_plan_of_any_prompt_is_the_same_when_it_is_read_back(watching_model, tmp_path, prompt, with_frames):
    seen = clip(with_frames=with_frames)
    if not prompt.strip() and not with_frames:
        return
    written = watching_model.plan(seen, prompt)
    written.save(tmp_path / "plan.txt")
    given = watching_model.read_plan(tmp_path / "plan.txt")
    assert list(watching_model.plan(seen, given=given).items()) == list(written.items())
    assert watching_model.plan(seen, given=watching_model.read_plan(str(written))) == written


@pytest.mark.parametrize("with_frames", [False, True])
@pytest.mark.parametrize("text", PLANS)
def test_every_subset_of_the_sections_of_a_plan_can_be_rendered(watching_model, text, with_frames):
    whole, seen = Plan.parse(text), clip(with_frames=with_frames)
    subsets = [names for count in range(not with_frames, 5) for names in itertools.combinations(CORE, count)]
    plans = []
    for names in subsets:
        given = Plan({name: whole[name] for name in names})
        plan = watching_model.plan(seen, given=given)
        kept = [name for name in names if whole[name]]
        assert {name: plan[name] for name in kept} == {name: whole[name] for name in kept}
        assert watching_model.plan(seen, "a bell, three times", given)["semantic"] == "a bell, three times"
        plans.append(plan)
    some = plans[5::10]
    made = watching_model.render([seen] * len(some), some, range(len(some)))
    assert all(bool(audio.isfinite().all()) for audio in made)
