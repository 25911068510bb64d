"""Directions are compared with those of a plan, a reference, a trajectory."""

import math

import pytest
import torch

from prismaudio.errors import NotApplicableError
from prismaudio.plan import Plan
from prismaudio.plan.story import SIDE_DEG
from prismaudio.planners.base import Planner
from prismaudio.rewards.moments import latest_source
from prismaudio.rewards.spatial import SpatialReward
from prismaudio.types import Clip

RATE_HZ = 16_000
CLIP = Clip("x", 4.0)


def burst(azimuth_deg: float, time_s: float = 1.0, seed: int = 0) -> torch.Tensor:
    """A burst of noise from a direction: 0.6 ms and 9 dB between the ears at 60°, ``(1, 2, 4 s)``."""
    side = math.sin(math.radians(azimuth_deg)) / math.sin(math.radians(SIDE_DEG))
    itd_s, ild_db = 0.6e-3 * side, 9 * side
    generator = torch.Generator().manual_seed(seed)
    since = torch.arange(4 * RATE_HZ) - round(time_s * RATE_HZ)
    noise = 0.3 * torch.randn(since.shape, generator=generator) * torch.exp(-since.clamp(min=0) / 1600) * (since >= 0)
    late = round(itd_s * RATE_HZ)
    gain = 10 ** (ild_db / 40)
    return torch.stack([noise.roll(max(0, late)) / gain, noise.roll(max(0, -late)) * gain])[None]


def plan(text: str, times: str = "The bell sounds at 1.00 s.") -> Plan:
    return Plan({"semantic": "A bell rings.", "temporal": times, "spatial": text})


def score(reward: SpatialReward, audio: torch.Tensor, clip: Clip = CLIP, text: str = "") -> float:
    said = plan(text) if text else Plan({})
    return reward.score(audio, RATE_HZ, [reward.prepare(clip, said)]).item()


def test_the_right_direction_scores_best_and_the_wrong_side_worst() -> None:
    scores = [score(SpatialReward("plan"), burst(a), text="The bell is at azimuth +40°.") for a in (40, 25, 0, -40)]
    assert scores == sorted(scores, reverse=True)
    assert scores[0] > 0.9
    assert scores[-1] < 0.2


def test_the_head_may_be_another() -> None:
    """One without level differences, as two microphones side by side."""
    sound = burst(40)
    level = sound / sound.square().mean(-1, keepdim=True).sqrt()
    text = "The bell is at azimuth +40°."
    assert score(SpatialReward("plan", side_ild_db=0.0), level, text=text) > 0.9
    assert score(SpatialReward("plan"), level, text=text) < 0.8


def test_a_trajectory_is_followed() -> None:
    reward = SpatialReward("trajectory", points=[(0.0, -40.0), (1.0, -40.0), (3.0, 40.0)])
    assert score(reward, burst(-40, 0.5) + burst(40, 3.1, seed=1)) > 0.85
    assert score(reward, burst(40, 0.5) + burst(-40, 3.1, seed=1)) < 0.25
    assert score(SpatialReward("trajectory", points=[(0.0, 30.0)]), burst(30)) > 0.85


def test_a_planner_may_watch() -> None:
    class Watcher(Planner):
        def plan(self, clip, dimensions, given=None):
            return plan("The bell is at azimuth -40°.")

    clip = Clip("x", 4.0, torch.zeros(4, 3, 8, 8, dtype=torch.uint8), 1.0)
    reward = SpatialReward("trajectory", planner=Watcher())
    assert score(reward, burst(-40), clip) > 0.9
    assert score(reward, burst(40), clip) < 0.2
    with pytest.raises(NotApplicableError, match="no trajectory is given, there are no frames"):
        reward.prepare(CLIP, Plan({}))


def test_the_reference_itself_is_right_and_its_mirror_is_not() -> None:
    audio = (burst(-40, 0.5) + burst(40, 2.0, seed=1))[0]
    clip = Clip("x", 4.0, audio=audio, sample_rate_hz=RATE_HZ)
    assert score(SpatialReward("reference"), audio[None], clip) > 0.95
    assert score(SpatialReward("reference"), audio.flip(0)[None], clip) < 0.6


def test_auto_takes_what_there_is_in_order() -> None:
    clip = Clip("x", 4.0, audio=burst(40)[0], sample_rate_hz=RATE_HZ)
    left = "The bell is at azimuth -40°."
    assert score(SpatialReward(points=[(0.0, 0.0)]), burst(0), clip, left) > 0.85
    assert score(SpatialReward(), burst(-40), clip, left) > 0.85
    assert score(SpatialReward(), burst(40), clip) > 0.85


def test_a_missing_source_costs_its_share() -> None:
    said = Plan(
        {
            "temporal": "The bell sounds at 0.50 s. The drum sounds at 2.00 s.",
            "spatial": "The bell is at azimuth -40°. The drum is at azimuth +40°.",
        }
    )
    reward = SpatialReward("plan")
    caches = [reward.prepare(CLIP, said)]
    one, other = burst(-40, 0.5), burst(40, 2.0, seed=1)
    both, half = (reward.score(sound, RATE_HZ, caches).item() for sound in (one + other, one))
    assert both > 0.9
    assert half == pytest.approx(both / 2, abs=0.06)
    late = reward.score((one + other).roll(4800, -1), RATE_HZ, caches).item()
    assert late > both - 0.1


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        (Plan({"spatial": "Nothing is known.", "temporal": "The bell sounds at 1.00 s."}), "no directions"),
        (
            Plan({"semantic": "A bell, a drum.", "spatial": "The bell is on the left. The drum is on the right."}),
            "several directions, and no times",
        ),
        (
            Plan(
                {
                    "temporal": "The whistle sounds from 0 s to 4 s. The engine sounds from 0 s to 4 s.",
                    "spatial": "The whistle is on the left. The engine is on the right.",
                }
            ),
            "ever active alone",
        ),
    ],
)
def test_a_plan_without_usable_directions_is_not_applicable(said, reason) -> None:
    with pytest.raises(NotApplicableError, match=reason):
        SpatialReward("plan").prepare(CLIP, said)


def test_a_moment_belongs_to_what_began_last_and_is_alone_or_not() -> None:
    sources = Plan({"temporal": "The bell sounds at 1 s. The whistle sounds from 2 s to 3 s."}).story.sources
    owner, alone = latest_source(sources, torch.tensor([0.5, 1.5, 2.1, 2.9, 3.5]), 0.04)
    assert [sources[k].what for k in owner.tolist()] == ["bell", "bell", "whistle", "whistle", "whistle"]
    assert alone.all()
    owner, alone = latest_source(sources, torch.tensor([1.99]), 0.04)
    assert alone.tolist() == [True]
    both = Plan({"temporal": "The bell sounds at 2.5 s. The whistle sounds from 2 s to 3 s."}).story.sources
    assert latest_source(both, torch.tensor([2.2, 2.6, 3.5]), 0.04)[1].tolist() == [True, False, True]
