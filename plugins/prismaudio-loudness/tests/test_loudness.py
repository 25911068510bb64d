import pytest
import torch

from prismaudio.plan import Plan
from prismaudio.planners.prompts import SectionPrompt
from prismaudio.testing import check_reward
from prismaudio_loudness import prismaudio_dimensions
from prismaudio_loudness.loudness import LoudnessMetric, LoudnessReward


def sine(level_db, rate_hz=16_000):
    return 10 ** (level_db / 20) * torch.sin(2 * torch.pi * 997 * torch.arange(2 * rate_hz) / rate_hz).repeat(1, 2, 1)


def test_the_reward_follows_the_plan_and_the_metric_its_target():
    reward, metric = LoudnessReward(), LoudnessMetric(-20.0)
    targets = [reward.prepare(None, Plan(p)) for p in ({"loudness": "At -30 LUFS."}, {"semantic": "A bell."})]
    assert reward.score(sine(-30).expand(2, 2, -1), 16_000, targets).tolist() == pytest.approx([0, -7], abs=0.05)
    metric.update(torch.cat([sine(-23), sine(-24)]), 16_000, [None, None])
    assert metric.compute().item() == pytest.approx(3.5, abs=0.05)


def test_a_language_model_is_shown_a_section_that_the_reward_reads():
    (dimension,) = prismaudio_dimensions()
    (example,) = SectionPrompt.of(dimension).examples
    cache = LoudnessReward().prepare(None, Plan({"loudness": example}))
    assert LoudnessReward().score(sine(-23), 16_000, [cache]).item() == pytest.approx(0, abs=0.05)


def test_the_reward_keeps_the_contract():
    check_reward(LoudnessReward())
