"""How loud: peak, true peak, rms, noise floor, loudness, all in dB relative to full scale."""

from __future__ import annotations

import torch
from torch import Tensor

from prismaudio.audio.resample import resample
from prismaudio.audio.spectral import decibels, power_spectrogram

FRAME_S = 0.02
_PIECE, _MARGIN = 1 << 20, 64
"""Samples whose true peak is found at once, and how many beside them its filter needs."""


def peak_db(audio: Tensor) -> float:
    """Level of the largest sample.

    Example:
        >>> peak_db(torch.tensor([[0.1, -1.0], [0.5, 0.2]]))
        0.0
    """
    return float(decibels(audio.abs().amax().square())) if audio.numel() else float(decibels(torch.zeros(())))


def true_peak_db(audio: Tensor, sample_rate_hz: int) -> float:
    """Level of the largest value of the waveform between and at the samples, from four times the sample rate.

    Source: ITU-R BS.1770-5, annex 2, with a longer interpolation filter.
    """
    peaks_db = []
    for first in range(0, max(1, audio.shape[-1]), _PIECE):
        begin, end = max(0, first - _MARGIN), first + _PIECE
        finer = resample(audio[..., begin : end + _MARGIN], sample_rate_hz, 4 * sample_rate_hz)
        peaks_db += [peak_db(audio[..., first:end]), peak_db(finer[..., 4 * (first - begin) : 4 * (end - begin)])]
    return max(peaks_db)


def rms_db(audio: Tensor) -> float:
    """Root mean square over all channels and samples.

    Example:
        >>> round(rms_db(torch.full((2, 100), 0.1)), 3)
        -20.0
    """
    return float(decibels(audio.square().mean())) if audio.numel() else float(decibels(torch.zeros(())))


def frame_levels_db(audio: Tensor, sample_rate_hz: int, frame_s: float = FRAME_S) -> Tensor:
    """Levels of consecutive frames ``(frames,)``, both channels together; a last incomplete frame is left out."""
    length = max(1, round(frame_s * sample_rate_hz))
    n_frames = max(1, audio.shape[-1] // length)
    if audio.shape[-1] < length:
        return decibels(audio.square().mean())[None]
    frames = audio[..., : n_frames * length].reshape(-1, n_frames, length)
    return decibels(frames.square().mean(dim=(0, 2)))


def noise_floor_db(audio: Tensor, sample_rate_hz: int, quantile: float = 0.1) -> float:
    """What is heard when nothing happens: a low quantile of the levels of 20 ms frames.

    Args:
        audio: Sound ``(2, samples)``.
        sample_rate_hz: Its sample rate.
        quantile: Share of the frames that are softer.

    Example:
        >>> noise = 0.01 * torch.randn(2, 16000, generator=torch.Generator().manual_seed(0))
        >>> abs(noise_floor_db(noise, 16000) + 40) < 1
        True
    """
    return float(frame_levels_db(audio, sample_rate_hz).quantile(quantile))


def loudness_db(audio: Tensor, sample_rate_hz: int) -> float:
    """A-weighted level of the louder half of the 32 ms frames: a simple loudness without gating blocks.

    Example:
        >>> t = torch.arange(16000) / 16000
        >>> low, mid = torch.sin(2 * torch.pi * 60 * t), torch.sin(2 * torch.pi * 1000 * t)
        >>> loudness_db(mid.repeat(2, 1), 16000) - loudness_db(low.repeat(2, 1), 16000) > 20
        True
    """
    window = max(2, 2 * round(0.016 * sample_rate_hz))
    power = power_spectrogram(audio, window, window // 2) * a_weighting(window, sample_rate_hz).to(audio)[:, None]
    frames = power.sum(dim=-2).reshape(-1, power.shape[-1]).mean(0)
    return float(decibels(4 / 3 * frames.sort(descending=True).values[: max(1, len(frames) // 2)].mean()))


def a_weighting(window: int, sample_rate_hz: int) -> Tensor:
    """A-weighting as a power gain for the bins of a transform of ``window`` samples ``(window // 2 + 1,)``; 1 at 1 kHz.

    Source: IEC 61672-1, equation E.1.
    """
    squared = torch.linspace(0, sample_rate_hz / 2, window // 2 + 1, dtype=torch.float64).square()
    gain = 12194.0**2 * squared.square()
    gain = gain / ((squared + 20.6**2) * (squared + 12194.0**2))
    gain = gain / ((squared + 107.7**2) * (squared + 737.9**2)).sqrt()
    return (gain * 10 ** (2.0 / 20)).square().float()
