"""Spectra have the documented levels, bands and frames."""

import math

import torch

from prismaudio.audio.spectral import SILENCE_DB, log_mel, mel_filterbank, power_spectrogram


def test_a_full_scale_sine_has_a_quarter_in_its_bin() -> None:
    tone = torch.sin(2 * math.pi * 1000 * torch.arange(16_000) / 16_000)
    power = power_spectrogram(tone, window=512, hop=128)
    middle = power[:, power.shape[1] // 2]
    assert int(middle.argmax()) == 32
    assert abs(float(middle.max()) - 0.25) < 0.01


def test_frames_are_centred() -> None:
    click = torch.zeros(8000)
    click[4000] = 1
    power = power_spectrogram(click, window=256, hop=50).sum(0)
    assert int(power.argmax()) == 80


def test_silence_is_the_floor() -> None:
    assert bool((log_mel(torch.zeros(2, 4000), 16_000) == SILENCE_DB).all())


def test_bands_cover_the_spectrum_without_an_empty_one() -> None:
    bands = mel_filterbank(64, 256, 16_000)
    assert bool((bands.sum(1) > 0.99).all())
    assert bool((bands.sum(0)[4:-4] > 0).all())
