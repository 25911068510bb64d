"""Onsets are found, missed and too many, softly."""

import pytest
import torch

from prismaudio.errors import NotApplicableError
from prismaudio.plan import Plan
from prismaudio.rewards.temporal import TemporalReward
from prismaudio.types import Clip

RATE_HZ = 16_000
PLAN = Plan({"temporal": "The bell sounds at 0.50 s, 1.50 s and 2.50 s."})


def clicks(*times_s: float) -> torch.Tensor:
    """Clicks in 4 s of nearly nothing, ``(1, 2, samples)``."""
    sound = 1e-4 * torch.randn(1, 2, 4 * RATE_HZ, generator=torch.Generator().manual_seed(0))
    for time_s in times_s:
        sound[..., round(time_s * RATE_HZ)] = 0.5
    return sound


def score(*times_s: float, reward: TemporalReward | None = None, clip: Clip | None = None) -> float:
    reward = reward or TemporalReward("plan")
    return reward.score(clicks(*times_s), RATE_HZ, [reward.prepare(clip or Clip("x", 4.0), PLAN)]).item()


def test_it_is_an_f1_score() -> None:
    assert score(0.5, 1.5, 2.5) == pytest.approx(1, abs=0.03)
    assert score(0.5, 1.5) == pytest.approx(4 / 5, abs=0.03)
    assert score(0.5, 1.5, 2.5, 3.5) == pytest.approx(6 / 7, abs=0.03)
    assert score(0.5, 0.6, 1.5, 2.5) == pytest.approx(6 / 7, abs=0.03)
    assert score() < 0.05


def test_it_falls_smoothly_with_time() -> None:
    scores = [score(0.5 + late, 1.5 + late, 2.5 + late) for late in (0, 0.02, 0.04, 0.06, 0.1, 0.3)]
    assert scores == sorted(scores, reverse=True)
    assert scores[2] == pytest.approx(torch.exp(torch.tensor(-0.5)).item(), abs=0.05)
    assert scores[-1] < 0.02


def score_of_plan(text: str, *times_s: float) -> float:
    reward = TemporalReward("plan")
    return reward.score(clicks(*times_s), RATE_HZ, [reward.prepare(Clip("x", 4.0), Plan({"temporal": text}))]).item()


def test_the_first_moments_are_not_scored() -> None:
    both = "The bell sounds at 0.00 s and 1.00 s."
    assert score_of_plan(both, 0.0, 1.0) == score_of_plan(both, 1.0) > 0.97
    assert score_of_plan(both, 0.03, 1.0) > 0.97
    assert score_of_plan(both, 0.0, 1.5) < 0.05
    assert score_of_plan("The bell sounds at 1.00 s.", 0.03, 1.0) > 0.97
    clip = Clip("x", 4.0, audio=clicks(0.03, 3.0)[0], sample_rate_hz=RATE_HZ)
    assert TemporalReward("reference").prepare(clip, PLAN)["times_s"].tolist() == pytest.approx([3.0], abs=0.01)
    with pytest.raises(
        NotApplicableError, match=r"all sources of the plan begin in the first 0\.05 s, where onsets cannot be detected"
    ):
        score_of_plan("The bell sounds at 0.00 s and 0.04 s.", 0.0)


@pytest.mark.parametrize("time_s", [0.05, 0.055, 0.06])
def test_an_onset_expected_just_after_them_may_be_detected_a_little_early(time_s) -> None:
    assert score_of_plan(f"The bell sounds at {time_s} s.", time_s - 0.002) > 0.97
    assert score_of_plan(f"The bell sounds at {time_s} s.", time_s) > 0.97


def test_one_detected_onset_does_not_match_two_expected_ones() -> None:
    assert score_of_plan("The bell sounds at 0.99 s and 1.01 s.", 1.0) == pytest.approx(2 / 3, abs=0.05)


def test_onsets_may_come_from_the_reference() -> None:
    clip = Clip("x", 4.0, audio=clicks(1.0, 3.0)[0], sample_rate_hz=RATE_HZ)
    reward = TemporalReward("reference")
    assert score(1.0, 3.0, reward=reward, clip=clip) > 0.97
    assert score(0.5, 1.5, reward=reward, clip=clip) < 0.05


def test_onsets_may_come_from_the_frames() -> None:
    frames = torch.full((64, 3, 32, 32), 90, dtype=torch.uint8)
    frames[16:18], frames[40:42] = 250, 250
    clip, reward = Clip("x", 4.0, frames, 16.0), TemporalReward("frames")
    assert score(1.0, 2.5, reward=reward, clip=clip) > 0.85
    assert score(1.5, 3.0, reward=reward, clip=clip) < 0.1


def test_auto_takes_what_there_is_in_order() -> None:
    clip = Clip("x", 4.0, audio=clicks(1.0)[0], sample_rate_hz=RATE_HZ)
    assert TemporalReward().prepare(clip, PLAN)["times_s"].tolist() == [0.5, 1.5, 2.5]
    assert TemporalReward().prepare(clip, Plan({}))["times_s"].tolist() == pytest.approx([1.0], abs=0.01)
    with pytest.raises(
        NotApplicableError, match=r"no <Temporal> section, there is no reference audio, there are no frames"
    ):
        TemporalReward().prepare(Clip("x", 4.0), Plan({}))


def test_inputs_without_onsets_are_not_applicable() -> None:
    for against, clip, reason in [
        ("plan", Clip("x", 4.0), "states no times"),
        (
            "reference",
            Clip("x", 4.0, audio=torch.zeros(2, 8000), sample_rate_hz=RATE_HZ),
            "the reference audio has no onset",
        ),
        (
            "frames",
            Clip("x", 4.0, torch.zeros(8, 3, 32, 32, dtype=torch.uint8), 16.0),
            "the frames show no sudden change",
        ),
    ]:
        with pytest.raises(NotApplicableError, match=reason):
            TemporalReward(against).prepare(clip, Plan({"temporal": "Something happens."}))
