"""Levels of signals whose level is known."""

import math

import pytest
import torch

from prismaudio.audio.level import a_weighting, loudness_db, noise_floor_db, peak_db, rms_db, true_peak_db
from prismaudio.audio.reverberation import late_energy_db

RATE_HZ = 16_000
TIME_S = torch.arange(RATE_HZ) / RATE_HZ


def test_rms_of_a_sine() -> None:
    assert rms_db(torch.sin(2 * math.pi * 440 * TIME_S).repeat(2, 1)) == pytest.approx(-3.01, abs=0.01)


def test_the_true_peak_lies_between_the_samples() -> None:
    tone = torch.sin(2 * math.pi * RATE_HZ / 4 * TIME_S + math.pi / 4).repeat(2, 1)  # samples at +-0.707 only
    assert peak_db(tone) == pytest.approx(-3.01, abs=0.05)
    assert true_peak_db(tone[:, 2000:-2000], RATE_HZ) > -0.3


def test_the_noise_floor_ignores_what_happens() -> None:
    sound = 0.001 * torch.randn(2, RATE_HZ, generator=torch.Generator().manual_seed(0))
    sound[:, 4000:9000] += 0.5
    assert noise_floor_db(sound, RATE_HZ) == pytest.approx(-60, abs=1)


def test_loudness_follows_the_level() -> None:
    tone = torch.sin(2 * math.pi * 1000 * TIME_S).repeat(2, 1)
    assert loudness_db(tone, RATE_HZ) - loudness_db(0.1 * tone, RATE_HZ) == pytest.approx(20, abs=0.01)
    assert loudness_db(tone, RATE_HZ) == pytest.approx(-3, abs=0.5)


def test_a_weighting_has_its_standard_values() -> None:
    gain_db = 10 * a_weighting(16_000, RATE_HZ).log10()  # bins of 1 Hz
    for frequency_hz, wanted_db in [(100, -19.1), (1000, 0.0), (4000, 1.0)]:
        assert float(gain_db[frequency_hz]) == pytest.approx(wanted_db, abs=0.15)


def test_empty_sound_is_silence() -> None:
    assert peak_db(torch.zeros(2, 0)) == rms_db(torch.zeros(2, 0)) == -100


def test_late_energy_is_the_decay() -> None:
    burst = torch.randn(2, RATE_HZ, generator=torch.Generator().manual_seed(0))
    burst[:, : RATE_HZ // 4] = 0
    for db_per_s in (40, 120):
        decay = burst * 10 ** (-db_per_s / 20 * (TIME_S - 0.25).clamp(min=0))
        # late: mean over 200 .. 350 ms; direct: the first 10 ms
        ease = math.log(10) / 10 * db_per_s
        late = (math.exp(-0.2 * ease) - math.exp(-0.35 * ease)) / 0.15
        direct = (1 - math.exp(-0.01 * ease)) / 0.01
        wanted_db = max(-60, 10 * math.log10(late / direct))
        assert late_energy_db(decay, RATE_HZ, 0.25) == pytest.approx(wanted_db, abs=1.5)


def test_late_energy_needs_sound_and_room_behind_the_event() -> None:
    assert late_energy_db(torch.zeros(2, RATE_HZ), RATE_HZ, 0.1) is None
    assert late_energy_db(torch.ones(2, RATE_HZ), RATE_HZ, 0.8) is None
