"""Interaural differences have the right size and the right sign."""

import pytest
import torch

from prismaudio.audio.resample import resample
from prismaudio.audio.stereo import cut, ild_db, itd_s

RATE_HZ = 16_000


def delayed(delay_s: float, seed: int = 0) -> torch.Tensor:
    """Noise that reaches the left channel ``delay_s`` later than the right one, ``(2, samples)`` at 16 kHz."""
    fine = resample(torch.randn(4000, generator=torch.Generator().manual_seed(seed)), RATE_HZ, 16 * RATE_HZ)
    shift = round(delay_s * 16 * RATE_HZ)
    return resample(torch.stack([fine.roll(shift), fine]), 16 * RATE_HZ, RATE_HZ)[:, 500:-500]


@pytest.mark.parametrize("delay_s", [-0.0006, -0.00021, 0.0, 0.00003, 0.00045])
@pytest.mark.parametrize("whitening", [0.0, 0.5, 1.0])
def test_time_difference_is_found_between_samples(delay_s: float, whitening: float) -> None:
    assert abs(itd_s(delayed(delay_s), RATE_HZ, whitening) - delay_s) < 8e-6


def test_a_time_difference_survives_noise_and_level_difference() -> None:
    sound = delayed(0.0003) * torch.tensor([[0.3], [1.0]])
    noisy = sound + 0.1 * torch.randn(sound.shape, generator=torch.Generator().manual_seed(1))
    assert abs(itd_s(noisy, RATE_HZ) - 0.0003) < 2e-5


def test_time_difference_stays_within_a_head() -> None:
    assert abs(itd_s(delayed(0.004), RATE_HZ)) <= 0.001


def test_silence_has_no_differences() -> None:
    assert itd_s(torch.zeros(2, 100), RATE_HZ) == 0.0
    assert ild_db(torch.zeros(2, 100)) == 0.0
    assert ild_db(torch.zeros(2, 0)) == 0.0


def test_the_louder_right_is_positive() -> None:
    assert ild_db(torch.tensor([[0.1], [1.0]])) == pytest.approx(20.0, abs=1e-4)


def test_cut_stays_inside_the_sound() -> None:
    audio = torch.arange(20.0).reshape(2, 10)
    assert cut(audio, 10, -0.2, 0.5).shape == (2, 3)
    assert cut(audio, 10, 0.5, 9.0).shape == (2, 5)
    assert cut(audio, 10, 3.0, 1.0).shape == (2, 0)
