import pytest
import torch

from prismaudio.errors import NotApplicableError, PrismAudioError
from prismaudio.plan import Plan
from prismaudio.rewards.preparing import prepare
from prismaudio.testing.rewards import check_reward
from prismaudio.types import Clip
from prismaudio_stereocrw.network import CrwNetwork
from prismaudio_stereocrw.reward import StereoCrwReward


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    return CrwNetwork(width=2)


@pytest.fixture(scope="module")
def reward(network):
    return StereoCrwReward(patch_s=0.5, n_patches=60, network=network)


def noise(late_right, n_samples=24_000, seed=0):
    sound = 0.1 * torch.randn(n_samples + 100, generator=torch.Generator().manual_seed(seed))
    return torch.stack([sound[50 : n_samples + 50], sound[50 - late_right : n_samples + 50 - late_right]])


def prepared(reward, sound, rate_hz=16_000):
    return reward.prepare(Clip("a", sound.shape[-1] / rate_hz, audio=sound, sample_rate_hz=rate_hz), Plan({}))


def test_it_keeps_the_contract(reward):
    # Between 7.5 and 8 kHz other rates leave nothing, and the phase transform hears that as loud as the rest.
    check_reward(reward, duration_s=0.6, resampling=0.3)


def test_the_reference_itself_is_best_and_a_larger_error_is_worse(reward):
    cache = prepared(reward, noise(0))
    scores = reward.score(torch.stack([noise(0), noise(4), noise(12)]), 16_000, [cache] * 3)
    assert scores[0].abs() < 1e-6
    assert scores[2] < scores[1] < -0.1
    gcc_ms = torch.tensor([4.0, 12.0]) / 16
    assert scores[1:].tolist() == pytest.approx((-5 * gcc_ms.square() / 2).tolist(), abs=0.05)


def test_windows_are_evaluated_one_by_one_over_the_whole_audio(reward):
    left_then_right = torch.cat([noise(8, 12_000), noise(-8, 12_000)], dim=-1)
    cache = prepared(reward, left_then_right)
    assert cache["itds_ms"].shape == (3, 2)
    swapped = left_then_right.flip(0)
    assert cache["itds_ms"][[0, 2], 1].tolist() == pytest.approx([-0.5, 0.5], abs=0.1)
    same, other = reward.score(torch.stack([left_then_right, swapped]), 16_000, [cache] * 2)
    assert same.abs() < 1e-6
    assert other < -0.5  # though the mean time difference of both is 0


def test_windows_that_the_reference_does_not_have_do_not_count(reward):
    longer = torch.cat([noise(3), noise(-20)], dim=-1)
    short, long = prepared(reward, noise(3)), prepared(reward, longer)
    scores = reward.score(longer[None].repeat(2, 1, 1), 16_000, [short, long])
    assert scores.isfinite().all()
    assert scores[1].abs() < 1e-6


def test_bf16_moves_little(network, reward):
    half = StereoCrwReward(patch_s=0.5, n_patches=60, precision="bf16", network=network)
    assert half.identity != reward.identity
    assert half.itds_ms(noise(4)[None], 16_000).tolist() == pytest.approx(
        reward.itds_ms(noise(4)[None], 16_000).numpy(), abs=0.05
    )


def test_other_weights_are_another_reward(reward):
    torch.manual_seed(1)
    other = StereoCrwReward(patch_s=0.5, n_patches=60, network=CrwNetwork(width=2))
    assert other.identity != reward.identity


def test_clips_that_cannot_be_scored_are_reported(reward):
    with pytest.raises(NotApplicableError, match="reference"):
        prepare(reward, Clip("a", 1.0), Plan({}))
    with pytest.raises(NotApplicableError, match="no samples"):
        prepared(reward, torch.zeros(2, 0))
    for shape in [(1, 1, 100), (1, 6, 100), (2, 100)]:
        with pytest.raises(PrismAudioError, match=r"expected \(batch, 2, samples\)"):
            reward.score(torch.zeros(shape), 16_000, [{}])
    with pytest.raises(PrismAudioError, match="0 samples"):
        reward.score(torch.zeros(1, 2, 0), 16_000, [{}])
    with pytest.raises(PrismAudioError, match=r"expected at least 0\.064 s and 49"):
        StereoCrwReward(n_patches=40, network=CrwNetwork(width=2))
