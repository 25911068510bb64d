"""What something sounds like, as numbers: statistics of the log-mel spectrogram over the sounding part."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor
from torch.nn.functional import pad

from prismaudio.signal.onsets import detect_onsets
from prismaudio.signal.resample import resample
from prismaudio.signal.spectral import decibels, log_mel

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
        audio: Sound ``(2, samples)``.
        sample_rate_hz: Its sample rate.

    Returns:
        Features ``(n_features(),)``, about 0 .. 1.

    Example:
        >>> len(timbre_features(torch.zeros(2, 16000), 16000)) == n_features()
        True
    """
    sound = resample(audio.float(), sample_rate_hz, RATE_HZ)
    channels = 10 ** (log_mel(sound, RATE_HZ, N_MELS, hop_s=HOP_S) / 10)
    power = channels.sum(0)
    total = decibels(power.sum(0), -120)
    bands = (decibels(power, -120) - total.amax()).clamp(min=-RANGE_DB)
    total = (total - total.amax()).clamp(min=-RANGE_DB)
    sounding = total > max(-40.0, float(total.quantile(0.1)) + 4.0)
    if not bool(sounding.any()):
        sounding = total >= total.amax()
    parts = [bands[:, sounding].mean(1), bands[:, sounding].std(1, correction=0), bands.quantile(0.1, dim=1)]
    parts += _after_onsets(bands, detect_onsets(sound, RATE_HZ))
    parts.append(torch.stack([(total > -depth).float().mean() for depth in DEPTHS_DB]) * RANGE_DB)
    parts += [_flutter(sound), RANGE_DB * _periodicity(sound)]
    return torch.cat(parts) / RANGE_DB


def n_features() -> int:
    """Number of timbre features."""
    return (3 + len(OFFSETS_S)) * N_MELS + len(DEPTHS_DB) + N_FLUTTER + N_LAGS


def _after_onsets(bands: Tensor, onsets_s: list[float]) -> list[Tensor]:
    """Mean spectra ``(N_MELS,)`` over the onsets, at each offset after them."""
    frames = torch.tensor(onsets_s or [float(bands.sum(0).argmax()) * HOP_S]) / HOP_S
    spectra = []
    for offset_s in OFFSETS_S:
        at = (frames + 1 + offset_s / HOP_S).round().long().clamp(max=bands.shape[1] - 1)
        spectra.append(bands[:, at].mean(1))
    return spectra


def _flutter(sound: Tensor) -> Tensor:
    """Fluctuation of the envelope in 24 bands of modulation frequency up to 125 Hz ``(24,)``, in dB above -50."""
    envelope = sound.square().sum(0).unfold(0, 64, 64).mean(1).sqrt()
    envelope = envelope / envelope.mean().clamp(min=1e-6)
    spectrum = torch.fft.rfft(envelope - envelope.mean(), 1024).abs().square()[1:]
    edges = torch.logspace(0, 9, N_FLUTTER + 1, base=2.0).round().long().clamp(max=len(spectrum))
    pooled = [spectrum[int(a) - 1 : max(int(a), int(b) - 1)].mean() for a, b in pairwise(edges)]
    return decibels(torch.stack(pooled) / len(envelope), -RANGE_DB)


def _periodicity(sound: Tensor) -> Tensor:
    """Highest autocorrelation in 12 ranges of lags from 2 to 20 ms ``(12,)``, 1 for a waveform that repeats itself."""
    frames = pad(sound, (0, -sound.shape[-1] % 1024)).unfold(-1, 1024, 512)
    energy = frames.square().sum((0, 2))
    loud = frames[:, energy >= 0.05 * energy.amax()]
    spectrum = torch.fft.rfft(loud, 2048).abs().square().mean((0, 1))
    correlation = torch.fft.irfft(spectrum)[:321]
    correlation = correlation / correlation[0].clamp(min=1e-9) / (1 - torch.arange(321) / 1024)
    edges = torch.logspace(5, 8.3219, N_LAGS + 1, base=2.0).round().long()
    return torch.stack([correlation[int(a) : int(b) + 1].amax() for a, b in pairwise(edges)])
