"""Onsets are detected at their times, without false positives."""

import math

import pytest
import torch

from prismaudio.audio.onsets import detect_onsets

RATE_HZ = 16_000
TIMES_S = [0.5, 0.9, 1.3, 2.2, 3.1]


def strikes(times_s: list[float], seed: int = 0) -> torch.Tensor:
    """Struck sounds of two decaying modes and a burst of noise, 4 s, from different directions."""
    generator = torch.Generator().manual_seed(seed)
    t = torch.arange(4 * RATE_HZ) / RATE_HZ
    audio = torch.zeros(2, len(t))
    for i, time_s in enumerate(times_s):
        since = (t - time_s).clamp(min=0)
        modes = torch.sin(2 * math.pi * (700 + 90 * i) * since) + 0.5 * torch.sin(2 * math.pi * (2100 + 90 * i) * since)
        burst = torch.randn(len(t), generator=generator) * torch.exp(-since / 0.01)
        strike = (0.2 * modes * torch.exp(-since / 0.15) + 0.1 * burst) * (t >= time_s)
        audio += torch.stack([strike, strike * (0.5 + 0.3 * (i % 3))])
    return audio


def assert_close(found_s: list[float], wanted_s: list[float], tolerance_s: float = 0.01) -> None:
    assert len(found_s) == len(wanted_s), found_s
    assert max(abs(a - b) for a, b in zip(found_s, wanted_s, strict=True)) < tolerance_s, found_s


@pytest.mark.parametrize("kind", ["clean", "noisy", "clipped", "muffled", "soft"])
def test_strikes_are_found(kind: str) -> None:
    audio = strikes(TIMES_S)
    if kind == "noisy":
        audio = audio + 0.006 * torch.randn(audio.shape, generator=torch.Generator().manual_seed(1))
    elif kind == "clipped":
        audio = (4 * audio).clamp(-0.5, 0.5)
    elif kind == "muffled":
        kernel = torch.hann_window(15)[None, None] / torch.hann_window(15).sum()
        audio = torch.nn.functional.conv1d(audio[:, None], kernel, padding=7)[:, 0]
    elif kind == "soft":
        audio = audio * 0.003
    assert_close(detect_onsets(audio, RATE_HZ), TIMES_S)


def test_a_hall_adds_no_onsets() -> None:
    generator = torch.Generator().manual_seed(2)
    tail = torch.randn(2, RATE_HZ, generator=generator) * torch.exp(-torch.arange(RATE_HZ) / RATE_HZ / 0.25) * 0.008
    audio, size = strikes(TIMES_S), 2**17
    wet = torch.fft.irfft(torch.fft.rfft(audio, size) * torch.fft.rfft(tail, size), size)[:, : audio.shape[1]]
    assert_close(detect_onsets(audio + wet, RATE_HZ), TIMES_S)


def test_sustained_tone_with_vibrato_has_one_onset() -> None:
    t = torch.arange(4 * RATE_HZ) / RATE_HZ
    phase = 2 * math.pi * 1500 * t + 3 * torch.sin(2 * math.pi * 5 * t)
    envelope = ((t - 1) / 0.02).clamp(0, 1) * ((3 - t) / 0.1).clamp(0, 1)
    assert_close(detect_onsets((0.2 * torch.sin(phase) * envelope).repeat(2, 1), RATE_HZ), [1.0], 0.03)


@pytest.mark.parametrize("level", [0.0, 1e-7, 0.1])
def test_silence_and_steady_noise_have_no_onsets(level: float) -> None:
    noise = level * torch.randn(2, 4 * RATE_HZ, generator=torch.Generator().manual_seed(3))
    assert detect_onsets(noise, RATE_HZ)[1:] == []
    assert all(time_s < 0.05 for time_s in detect_onsets(noise, RATE_HZ))


@pytest.mark.parametrize("samples", [0, 1, 200, 257, 700])
def test_short_sounds_do_not_fail(samples: int) -> None:
    assert all(0 <= time_s <= 0.1 for time_s in detect_onsets(torch.randn(2, samples), RATE_HZ))


def test_another_sample_rate_gives_the_same_times() -> None:
    from prismaudio.audio.resample import resample

    assert_close(detect_onsets(resample(strikes(TIMES_S), RATE_HZ, 44_100), 44_100), TIMES_S)
