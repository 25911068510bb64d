import pytest
import torch

from prismaudio.cot.plan import Plan
from prismaudio_loudness.loudness import LoudnessMetric, LoudnessReward, loudness_lufs


def sine(level_db, rate_hz=16_000):
    return 10 ** (level_db / 20) * torch.sin(2 * torch.pi * 997 * torch.arange(2 * rate_hz) / rate_hz).repeat(1, 2, 1)


@pytest.mark.parametrize("rate_hz", [16_000, 44_100, 48_000])
def test_a_sine_has_the_loudness_that_the_standard_says_and_silence_does_not_count(rate_hz):
    assert loudness_lufs(sine(-20, rate_hz), rate_hz).item() == pytest.approx(-20, abs=0.05)
    followed = torch.nn.functional.pad(sine(-20, rate_hz), (0, 8 * rate_hz))
    assert loudness_lufs(followed, rate_hz).item() == pytest.approx(-20, abs=0.7)
    assert loudness_lufs(0 * followed, rate_hz).item() == -70


def test_the_reward_follows_the_plan_and_the_metric_its_target():
    reward, metric = LoudnessReward(), LoudnessMetric(-20.0)
    targets = [reward.prepare(None, Plan(p)) for p in ({"loudness": "At -30 LUFS."}, {"semantic": "A bell."})]
    assert reward.score(sine(-30).expand(2, 2, -1), 16_000, targets).tolist() == pytest.approx([0, -7], abs=0.05)
    metric.update(torch.cat([sine(-23), sine(-24)]), 16_000, [None, None])
    assert metric.compute().item() == pytest.approx(3.5, abs=0.05)
