"""The planners of the core, with and without a given prompt or plan."""

from __future__ import annotations

import pytest
import torch

from prismaudio.builtin import CORE_DIMENSIONS
from prismaudio.components import Dimension
from prismaudio.data.synthetic import SyntheticClips
from prismaudio.errors import PlanError
from prismaudio.plan import CORE, Plan
from prismaudio.planners.file import FilePlanner
from prismaudio.planners.flash import FlashPlanner
from prismaudio.types import Clip

TEXT = "<Semantic> A dog barks. <Temporal> The dog barks at 0.50 s. <Spatial> The dog is on the left."
CLIP = Clip("walk", 2.0)


@pytest.fixture
def flash():
    """A planner that detects every rise in brightness of more than a quarter."""
    planner = FlashPlanner()
    with torch.no_grad():
        planner.chance.weight.copy_(torch.tensor([-20.0, 20.0, 0.0]))
        planner.chance.bias.fill_(-5.0)
    return planner


@pytest.mark.parametrize(
    ("given", "changed"),
    [
        (None, {}),
        ("a cat", {"semantic": "a cat"}),
        (Plan({"spatial": "Right.", "aesthetic": "Dry."}), {"spatial": "Right.", "aesthetic": "Dry."}),
    ],
)
def test_file_planner_keeps_given_sections(tmp_path, given, changed):
    (tmp_path / "walk.txt").write_text(TEXT)
    for path in (tmp_path, tmp_path / "walk.txt"):
        assert dict(FilePlanner(str(path)).plan(CLIP, CORE_DIMENSIONS, given)) == dict(Plan.parse(TEXT)) | changed


def test_missing_or_invalid_plan_file_is_reported(tmp_path):
    with pytest.raises(PlanError, match=r"no plan found for clip walk: expected the file .*walk\.txt"):
        FilePlanner(str(tmp_path)).plan(CLIP, CORE_DIMENSIONS)
    (tmp_path / "walk.txt").write_text("<Loudness> Loud.")
    with pytest.raises(PlanError, match="unknown section <Loudness>"):
        FilePlanner(str(tmp_path)).plan(CLIP, CORE_DIMENSIONS)
    loudness = Dimension("loudness", "How loud?")
    assert FilePlanner(str(tmp_path)).plan(CLIP, [*CORE_DIMENSIONS, loudness]) == {"loudness": "Loud."}


def test_flash_becomes_an_event_with_its_time_and_direction(flash):
    frames = torch.zeros(16, 3, 8, 8, dtype=torch.uint8)
    frames[[3, 9], :, :, 4:] = 200
    plan = flash.plan(Clip("a", 2.0, frames, 8.0), CORE_DIMENSIONS)
    (click,) = plan.story.sources
    assert (click.what, click.onsets_s, click.azimuth_deg) == ("click", (0.38, 1.12), (30.0, 30.0))
    assert list(plan) == list(CORE)
    assert list(flash.plan(Clip("a", 2.0, frames, 8.0), CORE_DIMENSIONS[:2])) == ["semantic", "temporal"]


def test_given_sections_are_kept_and_the_rest_is_generated(flash):
    clip, true = SyntheticClips(0, 1, 2.0, 8.0, 16, 16_000).clip(0)
    generated = flash.plan(clip, CORE_DIMENSIONS)
    prompted = flash.plan(clip, CORE_DIMENSIONS, "a dog")
    assert dict(prompted) == {**generated, "semantic": "a dog"}
    partial = Plan({"temporal": "At 1 s.", "spatial": "Left."})
    assert dict(flash.plan(clip, CORE_DIMENSIONS, partial)) == {**generated, **partial}
    assert flash.plan(clip, CORE_DIMENSIONS, true) is true
    assert dict(flash.plan(CLIP, CORE_DIMENSIONS, "a dog")) == {"semantic": "a dog"}
    with pytest.raises(PlanError, match="clip walk has no frames and no prompt or plan; give at least one of them"):
        flash.plan(CLIP, CORE_DIMENSIONS)


def test_training_reproduces_the_events_of_the_plans():
    torch.manual_seed(0)
    clips, plans = zip(*(SyntheticClips(0, 24, 2.0, 8.0, 16, 16_000).clip(i) for i in range(24)), strict=True)
    planner = FlashPlanner()
    optimizer = torch.optim.Adam(planner.parameters(), 0.3)
    for _ in range(150):
        optimizer.zero_grad()
        sum(planner.loss(clips, plans).values()).backward()
        optimizer.step()
    written = [planner.plan(clip, CORE_DIMENSIONS).story.sources for clip in clips]
    for found, plan in zip(written, plans, strict=True):
        assert found == plan.story.sources
