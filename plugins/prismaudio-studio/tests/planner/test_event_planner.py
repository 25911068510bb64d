import pytest
import torch

from prismaudio.builtin import CORE_DIMENSIONS
from prismaudio.errors import MediaError, PlanError
from prismaudio.plan import Plan
from prismaudio.plan.story import Source, Story
from prismaudio.planners.file import FilePlanner
from prismaudio.types import Clip
from prismaudio_studio.narration import narrate
from prismaudio_studio.planner.event import EventPlanner
from prismaudio_studio.planner.network import SPAN, EventPredictions

CLIP = Clip("clip", 4.0, frames=torch.zeros(64, 3, 48, 48, dtype=torch.uint8), fps=16.0)
STORY = Story(
    (
        Source("bell", (0.5, 1.25, 3.0), None, (24.0, 24.0), "small"),
        Source("cart", (1.0,), 2.5, (-40.0, 30.0), "large"),
    ),
    "noisy",
    "hall",
)


@pytest.fixture
def planner() -> EventPlanner:
    torch.manual_seed(0)
    return EventPlanner(["bell", "ball", "cart"], width=8, time_width=16, depth=2).eval()


def perfect_predictions(planner: EventPlanner, story: Story) -> EventPredictions:
    """The output of a perfect network."""
    target = planner.targets([story], 64)
    columns_off = (planner.network.across - target.azimuth.nan_to_num()[..., None]) * 12 * SPAN / 2
    size = 8 * torch.nn.functional.one_hot(target.size.clamp_min(0), 3).float()
    return EventPredictions(
        onsets=20 * (target.onsets - 0.5),
        sounding=20 * (target.sounding - 0.5),
        azimuth=target.azimuth.nan_to_num(),
        columns=(-0.5 * (columns_off / 0.6).square()).log_softmax(-1),
        present=20 * (target.present - 0.5),
        lasting=20 * (target.lasting - 0.5),
        size=size,
        quality=torch.eye(4)[target.quality],
        room=torch.eye(3)[target.room],
    )


def test_training_targets_decode_to_their_story(planner: EventPlanner, monkeypatch: pytest.MonkeyPatch) -> None:
    predicted = perfect_predictions(planner, STORY)
    monkeypatch.setattr(planner.network, "forward", lambda frames: predicted)
    detected = planner.detect(CLIP)
    assert (detected.quality, detected.room) == ("noisy", "hall")
    bell, cart = detected.sources
    assert bell.onsets_s == pytest.approx((0.5, 1.25, 3.0), abs=0.011)
    assert bell.azimuth_deg == pytest.approx((24, 24), abs=1.5)
    assert (bell.size, cart.size) == ("small", "large")
    assert cart.onsets_s == pytest.approx((1.0,), abs=0.011)
    assert cart.end_s == pytest.approx(2.5, abs=0.04)
    assert cart.azimuth_deg == pytest.approx((-40, 30), abs=5)


def test_the_requested_sections_are_written(planner: EventPlanner) -> None:
    plan = planner.plan(CLIP, CORE_DIMENSIONS)
    assert list(plan) == ["semantic", "temporal", "aesthetic", "spatial"]
    assert list(planner.plan(CLIP, CORE_DIMENSIONS[:2])) == ["semantic", "temporal"]
    assert str(Plan.parse(str(plan))) == str(plan)


def test_it_overfits_one_clip() -> None:
    torch.manual_seed(0)
    planner = EventPlanner(["bell", "cart"], width=8, time_width=32, depth=3)
    frames = torch.zeros(64, 3, 48, 48, dtype=torch.uint8)
    for onset in (8, 20, 48):
        frames[onset, :, 10:20, 30:40] = 255
    clip = Clip("c", 4.0, frames, 16.0)
    plan = narrate(Story((STORY.sources[0],), "noisy", "hall"))
    optimizer = torch.optim.Adam(planner.parameters(), 5e-3)
    losses = []
    for _ in range(40):
        loss = torch.stack(list(planner.loss([clip], [plan]).values())).sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.25 * losses[0]


def test_unstated_attributes_have_no_loss(planner: EventPlanner) -> None:
    terms = planner.loss([CLIP], [Plan({"semantic": "Something."})])
    assert all(torch.isfinite(term) for term in terms.values())
    assert terms["azimuth"] == 0
    assert terms["quality"] == 0


def test_frames_of_another_size_are_refused(planner: EventPlanner) -> None:
    with pytest.raises(MediaError, match="expected"):
        planner.detect(Clip("c", 1.0, torch.zeros(16, 3, 64, 64, dtype=torch.uint8), 16.0))
    with pytest.raises(MediaError, match="no frames"):
        planner.detect(Clip("c", 1.0))


def test_a_written_plan_is_read(tmp_path) -> None:
    narrate(STORY).save(tmp_path / "clip.txt")
    assert FilePlanner(str(tmp_path)).plan(CLIP, CORE_DIMENSIONS).story == narrate(STORY).story
    with pytest.raises(PlanError, match="no plan found for clip other"):
        FilePlanner(str(tmp_path)).plan(Clip("other", 1.0), CORE_DIMENSIONS)
