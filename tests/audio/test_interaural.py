"""Interaural differences have the correct value and sign with every method."""

from __future__ import annotations

import pytest
import torch

from prismaudio.audio import interaural
from prismaudio.audio.covering import cut
from prismaudio.audio.interaural import (
    HOP_S,
    WINDOW_S,
    azimuths_deg,
    directions,
    gcc_phat_itds_s,
    ild_db,
    itd_s,
    n_windows,
)
from prismaudio.audio.resample import resample
from prismaudio.plan.story import Source

RATE_HZ = 16_000


def delayed(delay_s: float, seed: int = 0) -> torch.Tensor:
    """Noise whose left channel lags ``delay_s`` behind the right one, ``(2, samples)`` at 16 kHz."""
    fine = resample(torch.randn(4000, generator=torch.Generator().manual_seed(seed)), RATE_HZ, 16 * RATE_HZ)
    shift = round(delay_s * 16 * RATE_HZ)
    return resample(torch.stack([fine.roll(shift), fine]), 16 * RATE_HZ, RATE_HZ)[:, 500:-500]


def late_left(samples: int, n: int = 12_000, gain: float = 1.0, seed: int = 0) -> torch.Tensor:
    """Noise ``(2, n)`` whose left channel lags by some samples and whose right channel is scaled by ``gain``."""
    noise = 0.1 * torch.randn(n + 100, generator=torch.Generator().manual_seed(seed))
    return torch.stack([noise[50 - samples : 50 - samples + n], gain * noise[50 : 50 + n]])


# Whole audio --------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("delay_s", [-0.0006, -0.00021, 0.0, 0.00003, 0.00045])
@pytest.mark.parametrize("whitening", [0.0, 0.5, 1.0])
def test_time_difference_is_found_between_samples(delay_s: float, whitening: float) -> None:
    assert abs(itd_s(delayed(delay_s), RATE_HZ, whitening) - delay_s) < 8e-6


def test_time_difference_is_robust_to_noise_and_level_difference() -> None:
    audio = delayed(0.0003) * torch.tensor([[0.3], [1.0]])
    noisy = audio + 0.1 * torch.randn(audio.shape, generator=torch.Generator().manual_seed(1))
    assert abs(itd_s(noisy, RATE_HZ) - 0.0003) < 2e-5


def test_time_difference_is_limited() -> None:
    assert abs(itd_s(delayed(0.004), RATE_HZ)) <= 0.001


@pytest.mark.parametrize("oversampling", [1, 4])
def test_matrix_product_equals_inverse_transform(oversampling: int, monkeypatch) -> None:
    parts = torch.stack([delayed(0.0003), delayed(-0.0007, 1)])
    direct = itd_s(parts, RATE_HZ, oversampling=oversampling), gcc_phat_itds_s(parts, RATE_HZ, 1280, 8, oversampling)
    monkeypatch.setattr(interaural, "_DIRECT_N_FFT", 0)
    assert torch.allclose(itd_s(parts, RATE_HZ, oversampling=oversampling), direct[0], atol=1e-8)
    assert torch.equal(gcc_phat_itds_s(parts, RATE_HZ, 1280, 8, oversampling), direct[1])


def test_silence_has_no_differences() -> None:
    for n in (0, 1, 100):
        assert itd_s(torch.zeros(2, n), RATE_HZ) == 0.0
        assert ild_db(torch.zeros(2, n)) == 0.0


def test_louder_right_channel_is_positive() -> None:
    assert ild_db(torch.tensor([[0.1], [1.0]])) == pytest.approx(20.0, abs=1e-4)


# Frames over time ---------------------------------------------------------------------------------------------------
def test_frames_equal_the_functions_for_whole_audio() -> None:
    audio = torch.stack([late_left(5, gain=2.0), late_left(-9, gain=2.0, seed=1)])
    audio = audio + 0.02 * torch.randn(audio.shape, generator=torch.Generator().manual_seed(2))
    found = directions(audio, RATE_HZ)
    for window in (0, 7, 16):
        parts = cut(audio, RATE_HZ, window * HOP_S, WINDOW_S)
        assert found.itd_ms[:, window].tolist() == pytest.approx((1000 * itd_s(parts, RATE_HZ)).tolist(), abs=0.01)
        assert found.ild_db[:, window].tolist() == pytest.approx(ild_db(parts).tolist(), abs=0.01)


def test_side_energy_is_zero_for_the_correct_direction() -> None:
    found = directions(late_left(8, gain=2.0)[None], RATE_HZ)
    itd_ms, level_db = torch.full_like(found.itd_ms, 0.5), torch.full_like(found.itd_ms, 6.02)
    assert found.residual(itd_ms, level_db).max() < 0.02
    assert found.residual(0 * itd_ms, 0 * level_db).min() > 0.4
    assert found.residual(-itd_ms, -level_db).min() > 0.4


def test_number_of_frames() -> None:
    for seconds in (0.05, 0.1, 1.0, 3.99):
        audio = torch.zeros(1, 2, round(seconds * RATE_HZ))
        found = directions(audio, RATE_HZ)
        assert found.power.shape == (1, n_windows(seconds))
        assert not found.itd_ms.any()


# The published GCC-PHAT ---------------------------------------------------------------------------------------------
@pytest.mark.parametrize("samples", [-24, -7, 0, 7, 24])
def test_frames_find_the_delay(samples) -> None:
    found = gcc_phat_itds_s(late_left(samples), RATE_HZ, n_frames=16)
    assert found.shape == (16,)
    assert torch.allclose(found * RATE_HZ, torch.full((16,), float(samples)), atol=1e-3)
    halves = gcc_phat_itds_s(late_left(samples).repeat_interleave(2, -1)[..., 1:], 2 * RATE_HZ, n_frames=4).mean()
    assert float(halves * RATE_HZ) == pytest.approx(samples, abs=0.6)


def test_batch_of_any_shape_equals_its_rows() -> None:
    rows = torch.stack([late_left(5), late_left(-9, seed=1), torch.zeros(2, 12_000), 100 * late_left(3, seed=2)])
    alone = torch.stack([gcc_phat_itds_s(row, RATE_HZ, n_frames=8) for row in rows])
    assert torch.equal(gcc_phat_itds_s(rows, RATE_HZ, n_frames=8), alone)
    assert torch.equal(gcc_phat_itds_s(rows.reshape(2, 2, 2, -1), RATE_HZ, n_frames=8), alone.reshape(2, 2, 8))


@pytest.mark.parametrize("n", [1, 100, 3840, 3900])
def test_short_sound_and_silence_are_finite(n) -> None:
    for audio in (late_left(0, n=n), torch.zeros(2, n)):
        found = gcc_phat_itds_s(audio, RATE_HZ)
        assert found.shape == (512,)
        assert not found.any()


# Planned directions -------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    "source",
    [
        Source("car", (1.0,), 3.0, (-20.0, 40.0)),
        Source("dog", (0.5, 2.0, 2.5), None, (60.0, -60.0)),
        Source("bird", (1.0,), None, (30.0, 30.0)),
        Source("wind", (), None, (-10.0, -10.0)),
    ],
)
def test_vectorised_directions_equal_single_ones(source) -> None:
    times_s = torch.linspace(0, 4, 41)
    alone = [source.azimuth_at(time_s) for time_s in times_s.tolist()]
    assert azimuths_deg(source, times_s).tolist() == pytest.approx(alone, abs=1e-4)


def test_source_without_a_direction_gives_nan() -> None:
    assert azimuths_deg(Source("dog", (1.0,)), torch.zeros(3)).isnan().all()
