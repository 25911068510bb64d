"""Resampling keeps length, time, level and pitch, without aliasing."""

import math

import pytest
import torch

from prismaudio.audio.resample import resample


@pytest.mark.parametrize(
    ("from_hz", "to_hz"), [(44_100, 16_000), (16_000, 44_100), (48_000, 16_000), (16_000, 64_000), (22_050, 16_000)]
)
@pytest.mark.parametrize("samples", [1, 1000, 44_101])
def test_length_is_exact(from_hz: int, to_hz: int, samples: int) -> None:
    assert resample(torch.randn(2, samples), from_hz, to_hz).shape == (2, round(samples * to_hz / from_hz))


@pytest.mark.parametrize(("from_hz", "to_hz"), [(44_100, 16_000), (16_000, 48_000), (48_000, 44_100)])
def test_a_sine_stays_the_same_sine(from_hz: int, to_hz: int) -> None:
    made = resample(torch.sin(2 * math.pi * 1000 * torch.arange(from_hz) / from_hz), from_hz, to_hz)
    wanted = torch.sin(2 * math.pi * 1000 * torch.arange(to_hz) / to_hz)
    inner = slice(500, -500)
    assert float((made - wanted)[inner].abs().max()) < 1e-3


def test_frequencies_above_the_new_nyquist_frequency_are_removed() -> None:
    high = torch.sin(2 * math.pi * 9500 * torch.arange(48_000).double() / 48_000)
    assert float(resample(high, 48_000, 16_000)[500:-500].abs().max()) < 1e-3


def test_same_rate_is_the_identity() -> None:
    audio = torch.randn(2, 100)
    assert resample(audio, 16_000, 16_000) is audio
