"""The planner that tells clips of the studio from real footage."""

import pytest
import torch

from prismaudio.errors import TrainingError
from prismaudio.plan import Plan
from prismaudio.pretrained import load_parts
from prismaudio.registry import discover
from prismaudio.samplers.euler import EulerSampler
from prismaudio.types import Clip, ClipBatch
from prismaudio_studio.fitting import PlannerFittingTask
from prismaudio_studio.planner import studio
from prismaudio_studio.planner.event import EventPlanner
from prismaudio_studio.planner.studio import AXES, LIMIT, StudioPlanner

CLASSES = ["bell", "dog"]
FRAMES = torch.zeros(8, 3, 48, 48, dtype=torch.uint8)


def tiny() -> StudioPlanner:
    torch.manual_seed(0)
    return StudioPlanner(CLASSES, width=8, time_width=16, depth=1)


def fitted(monkeypatch: pytest.MonkeyPatch) -> StudioPlanner:
    """A planner whose studio clips differ along two axes; the brightness of the first pixel chooses the features."""
    generator = torch.Generator().manual_seed(0)
    basis = torch.randn(2, 1280, generator=generator)

    def look(frames: torch.Tensor) -> torch.Tensor:
        value = int(frames[0, 0, 0, 0])
        own = torch.Generator().manual_seed(value)
        features = torch.randn(2, generator=own) @ basis + 0.05 * torch.randn(1280, generator=own)
        return features + (2 * torch.randn(1280, generator=own) if value >= 200 else 0)

    monkeypatch.setattr(studio, "look", look)
    planner = tiny()
    for value in range(2 * AXES):
        planner.observe(FRAMES + value)
    planner.fit()
    return planner


def clip(value: int) -> Clip:
    return Clip("c", 0.5, FRAMES + value, 16.0)


def test_clips_that_differ_as_studio_clips_do_are_of_the_studio(monkeypatch):
    planner = fitted(monkeypatch)
    assert all(planner.strangeness(clip(value)) < LIMIT for value in range(130, 190))
    assert all(planner.strangeness(clip(value)) > LIMIT for value in range(200, 250))
    assert planner.strangeness(Clip("text", 2.0)) == 0.0


def test_footage_is_planned_by_the_other_planner_and_complete_plans_by_none(monkeypatch):
    planner = fitted(monkeypatch)
    asked = []
    texts = {
        "semantic": "A dog barks once.",
        "temporal": "The dog sounds at 0.21 s.",
        "aesthetic": "A clean recording.",
    }
    seen = Plan(texts, ["a warning"], {"semantic": {"model": "classifier"}})
    monkeypatch.setattr(planner.footage, "plan", lambda one, dimensions: asked.append(one.id) or seen)
    dimensions = discover().dimensions()
    planner.plan(clip(140), dimensions)
    assert asked == []
    assert planner.plan(clip(210), dimensions) is seen
    plan = planner.plan(clip(210), dimensions, "A puppy and a bell.")
    assert plan["semantic"] == "A puppy and a bell."
    assert plan.read(planner.vocabulary.nouns).sources[0].onsets_s == (0.21,)
    assert dict(plan.origins) == {}
    partial = planner.plan(clip(210), dimensions, Plan({"aesthetic": "Hall acoustics."}))
    assert (partial["semantic"], partial["aesthetic"]) == ("A dog barks once.", "Hall acoustics.")
    assert partial.origins["semantic"] == {"model": "classifier"}
    assert len(asked) == 3
    whole = Plan(dict.fromkeys(("semantic", "temporal", "aesthetic", "spatial"), "A dog barks at 0.10 s."))
    assert planner.plan(clip(210), dimensions, whole) is whole
    assert len(asked) == 3


def test_too_few_clips_are_refused():
    planner = tiny()
    planner._observed = [torch.zeros(1280)] * AXES
    with pytest.raises(TrainingError, match="64 clips are too few for 64 axes"):
        planner.fit()


def test_before_it_is_fitted_all_clips_are_of_the_studio(monkeypatch):
    monkeypatch.setattr(studio, "look", lambda frames: 100 * torch.randn(1280))
    assert tiny().strangeness(clip(3)) < LIMIT


def test_the_task_fits_a_trained_event_planner(tmp_path, monkeypatch):
    from stages import trainer
    from torch.utils.data import DataLoader

    from prismaudio.checkpoints import save_components
    from prismaudio.training.callbacks.export import ExportComponents

    monkeypatch.setattr(studio, "look", lambda frames: frames.float().mean((0, 2, 3)).repeat(427)[:1280])
    torch.manual_seed(1)
    events = EventPlanner(CLASSES, width=8, time_width=16, depth=1)
    save_components(tmp_path / "model", {"planner": events})
    batches = [ClipBatch([clip(8 * i + j) for j in range(8)], [Plan({})] * 8) for i in range(9)]
    loader = DataLoader(batches, batch_size=None)
    task = PlannerFittingTask(str(tmp_path / "model"))
    trainer(tmp_path, max_epochs=1, callbacks=[ExportComponents(str(tmp_path / "model"))]).fit(task, loader, loader)
    planner = load_parts(str(tmp_path / "model"))["planner"]
    assert isinstance(planner, StudioPlanner)
    assert torch.equal(planner.network.embed.weight, events.network.embed.weight)
    assert planner.axes.any()
    save_components(tmp_path / "other", {"sampler": EulerSampler(2)})
    with pytest.raises(TrainingError, match="no EventPlanner"):
        PlannerFittingTask(str(tmp_path / "other"))
