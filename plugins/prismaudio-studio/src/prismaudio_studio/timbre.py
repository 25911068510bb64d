"""What something sounds like, as numbers: statistics of the log-mel spectrogram over the sounding part."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor
from torch.nn.functional import pad

from prismaudio.audio.onsets import min_strength, onset_peaks
from prismaudio.audio.resample import resample
from prismaudio.audio.spectral import decibels, log_mel, low_quantile

RATE_HZ = 16_000
N_MELS = 48
HOP_S = 0.008
RANGE_DB = 50.0
OFFSETS_S = (0.0, 0.04, 0.1, 0.2, 0.4)
"""When after an onset its spectrum is looked at."""
N_FLUTTER, N_LAGS = 24, 12
DEPTHS_DB = (6.0, 12.0, 20.0, 30.0, 40.0)


def timbre_features(audio: Tensor, sample_rate_hz: int) -> Tensor:
    """Features that tell what kind of thing sounds, whatever its level, place and times.

    All levels are relative to the loudest frame and at least -50 dB: the spectrum at and after the onsets, the mean
    and the spread of the sounding part, the background, how much of the clip is how loud, how the level flutters, and
    how nearly the waveform repeats itself.

    Args:
        audio: Audio ``(..., 2, samples)``.
        sample_rate_hz: Its sample rate.

    Returns:
        Features ``(..., n_features())``, about 0 .. 1.

    Example:
        >>> timbre_features(torch.zeros(3, 2, 16000), 16000).shape == (3, n_features())
        True
    """
    sound = resample(audio.float().reshape(-1, *audio.shape[-2:]), sample_rate_hz, RATE_HZ)
    power = (10 ** (log_mel(sound, RATE_HZ, N_MELS, hop_s=HOP_S) / 10)).sum(1)
    total = decibels(power.sum(1), -120)
    top = total.amax(1, keepdim=True)
    bands = (decibels(power, -120) - top[..., None]).clamp(min=-RANGE_DB)
    total = (total - top).clamp(min=-RANGE_DB)
    sounding = total > (low_quantile(total, 0.1) + 4.0).clamp(min=-40.0)
    sounding |= (total >= 0) & ~sounding.any(1, keepdim=True)
    mean = _mean(bands, sounding[:, None])
    spread = _mean((bands - mean[..., None]).square(), sounding[:, None]).sqrt()
    parts = [mean, spread, low_quantile(bands, 0.1)[..., 0], *_after_onsets(bands, *onset_peaks(sound, RATE_HZ))]
    parts.append(torch.stack([(total > -depth).float().mean(1) for depth in DEPTHS_DB], 1) * RANGE_DB)
    parts += [_flutter(sound), RANGE_DB * _periodicity(sound)]
    return torch.cat(parts, 1).reshape(*audio.shape[:-2], -1) / RANGE_DB


def n_features() -> int:
    """Number of timbre features."""
    return (3 + len(OFFSETS_S)) * N_MELS + len(DEPTHS_DB) + N_FLUTTER + N_LAGS


def _mean(values: Tensor, mask: Tensor) -> Tensor:
    """Mean over the last dimension, of what the mask is True for."""
    return (values * mask).sum(-1) / mask.sum(-1).clamp(min=1)


def _after_onsets(bands: Tensor, times_s: Tensor, strength: Tensor) -> list[Tensor]:
    """Mean spectra ``(batch, N_MELS)`` over the onsets, at each offset after them."""
    mask = strength >= min_strength(strength)
    loudest = bands.sum(1).argmax(1, keepdim=True)
    frames = torch.where(mask.any(1, keepdim=True), times_s / HOP_S, loudest)
    mask[:, :1] |= ~mask.any(1, keepdim=True)
    spectra = []
    for offset_s in OFFSETS_S:
        at = (frames + 1 + offset_s / HOP_S).round().long().clamp(max=bands.shape[2] - 1)
        spectra.append(_mean(bands.gather(2, at[:, None].expand(-1, bands.shape[1], -1)), mask[:, None]))
    return spectra


def _flutter(sound: Tensor) -> Tensor:
    """Fluctuation of the envelope in 24 bands of modulation up to 125 Hz ``(batch, 24)``, in dB above -50."""
    envelope = sound.square().sum(1).unfold(-1, 64, 64).mean(-1).sqrt()
    envelope = envelope / envelope.mean(-1, keepdim=True).clamp(min=1e-6)
    spectrum = torch.fft.rfft(envelope - envelope.mean(-1, keepdim=True), 1024).abs().square()[:, 1:]
    edges = torch.logspace(0, 9, N_FLUTTER + 1, base=2.0).round().long().clamp(max=spectrum.shape[1]).tolist()
    pooled = [spectrum[:, a - 1 : max(a, b - 1)].mean(1) for a, b in pairwise(edges)]
    return decibels(torch.stack(pooled, 1) / envelope.shape[1], -RANGE_DB)


def _periodicity(sound: Tensor) -> Tensor:
    """Highest autocorrelation in 12 ranges of lags from 2 to 20 ms ``(batch, 12)``, 1 for what repeats itself."""
    frames = pad(sound, (0, -sound.shape[-1] % 1024)).unfold(-1, 1024, 512)
    energy = frames.square().sum((1, 3))
    loud = energy >= 0.05 * energy.amax(1, keepdim=True)
    spectrum = torch.fft.rfft(frames * loud[:, None, :, None], 2048)
    power = (spectrum.real.square() + spectrum.imag.square()).sum((1, 2)) / loud.sum(1, keepdim=True)
    correlation = torch.fft.irfft(power)[:, :321]
    fade = 1 - torch.arange(321, device=sound.device) / 1024
    correlation = correlation / correlation[:, :1].clamp(min=1e-9) / fade
    edges = torch.logspace(5, 8.3219, N_LAGS + 1, base=2.0).round().long().tolist()
    return torch.stack([correlation[:, a : b + 1].amax(1) for a, b in pairwise(edges)], 1)
