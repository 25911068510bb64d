"""Short-time spectra: power spectrogram and log-mel spectrogram."""

from __future__ import annotations

import math
from functools import lru_cache

import torch
from torch import Tensor

SILENCE_DB = -100.0
"""Floor of levels in dB; what is softer counts as this."""


def power_spectrogram(audio: Tensor, window: int, hop: int) -> Tensor:
    """Power of a short-time Fourier transform; a full-scale sine gives about 0.25 in its bin.

    Args:
        audio: Audio ``(..., samples)``.
        window: Length of the Hann window in samples, which is also the length of the transform.
        hop: Samples from one frame to the next; frame ``i`` is centred on sample ``i * hop``.

    Returns:
        Power ``(..., window // 2 + 1, 1 + samples // hop)``.

    Example:
        >>> power_spectrogram(torch.zeros(2, 1000), window=256, hop=64).shape
        torch.Size([2, 129, 16])
    """
    flat = audio.reshape(-1, audio.shape[-1])
    padded = torch.nn.functional.pad(flat, (window // 2, window // 2))
    taper = torch.hann_window(window, dtype=audio.dtype, device=audio.device)
    spectrum = torch.stft(padded, window, hop, window=taper, center=False, return_complex=True)
    power = (spectrum.real.square() + spectrum.imag.square()) / taper.sum().square()
    return power.reshape(*audio.shape[:-1], *power.shape[-2:])


def hz_to_mel(frequency_hz: Tensor) -> Tensor:
    """The mel scale, 2595 log10(1 + f / 700)."""
    return 2595.0 * torch.log10(1.0 + frequency_hz / 700.0)


def mel_to_hz(mel: Tensor) -> Tensor:
    """The inverse of :func:`hz_to_mel`."""
    return 700.0 * (10.0 ** (mel / 2595.0) - 1.0)


@lru_cache(maxsize=16)
def mel_filterbank(n_mels: int, window: int, sample_rate_hz: int, low_hz: float = 40.0) -> Tensor:
    """Triangular mel bands ``(n_mels, window // 2 + 1)``, each of which sums to 1.

    Example:
        >>> mel_filterbank(24, 512, 16000).sum(1).allclose(torch.ones(24))
        True
    """
    ends = hz_to_mel(torch.tensor([low_hz, sample_rate_hz / 2]))
    edges_hz = mel_to_hz(torch.linspace(float(ends[0]), float(ends[1]), n_mels + 2))
    bins_hz = torch.linspace(0, sample_rate_hz / 2, window // 2 + 1)
    resolution_hz = sample_rate_hz / window
    left, centre, right = edges_hz[:-2, None], edges_hz[1:-1, None], edges_hz[2:, None]
    rise = (bins_hz - left) / (centre - left).clamp(min=resolution_hz)
    fall = (right - bins_hz) / (right - centre).clamp(min=resolution_hz)
    bands = torch.minimum(rise, fall).clamp(min=0)
    nearest = (bins_hz - centre).abs().argmin(1)  # a band narrower than a bin takes the nearest one
    empty = bands.sum(1) == 0
    bands[empty, nearest[empty]] = 1.0
    return bands / bands.sum(1, keepdim=True)


@lru_cache(maxsize=16)
def published_mel_filters(
    n_mels: int, n_fft: int, sample_rate_hz: int, low_hz: float, high_hz: float, scale: str = "htk"
) -> Tensor:
    """Triangular mel bands ``(n_mels, n_fft // 2 + 1)`` in float64, as published reward networks were trained behind.

    Args:
        n_mels: Number of bands.
        n_fft: Length of the transform.
        sample_rate_hz: Sample rate.
        low_hz: Where the first band begins.
        high_hz: Where the last band ends.
        scale: ``"htk"``: 2595 log10(1 + f / 700), every band 1 high (torchaudio's default); ``"slaney"``: linear below
            1 kHz and logarithmic above it, every band of area 1 (librosa's default).

    Example:
        >>> published_mel_filters(64, 1024, 32_000, 50, 14_000, "slaney").shape
        torch.Size([64, 513])
    """
    to_mel, to_hz = (hz_to_mel, mel_to_hz) if scale == "htk" else (_hz_to_slaney, _slaney_to_hz)
    ends = to_mel(torch.tensor([low_hz, high_hz], dtype=torch.float64))
    steps = torch.linspace(0, 1, n_mels + 2, dtype=torch.float64)
    edges = to_hz(ends[0] + (ends[1] - ends[0]) * steps)
    bins = torch.linspace(0, sample_rate_hz // 2, n_fft // 2 + 1, dtype=torch.float64)
    left, centre, right = edges[:-2, None], edges[1:-1, None], edges[2:, None]
    bands = torch.minimum((bins - left) / (centre - left), (right - bins) / (right - centre)).clamp(min=0)
    return bands if scale == "htk" else bands * (2 / (right - left))


def _hz_to_slaney(frequency_hz: Tensor) -> Tensor:
    above = 15 + 27 * torch.log(frequency_hz.clamp(min=1e-9) / 1000) / math.log(6.4)
    return torch.where(frequency_hz < 1000, 3 * frequency_hz / 200, above)


def _slaney_to_hz(mel: Tensor) -> Tensor:
    return torch.where(mel < 15, 200 * mel / 3, 1000 * torch.exp(math.log(6.4) * (mel - 15) / 27))


def log_mel(
    audio: Tensor, sample_rate_hz: int, n_mels: int = 40, window_s: float = 0.032, hop_s: float = 0.008
) -> Tensor:
    """Log-mel spectrogram in dB.

    Args:
        audio: Audio ``(..., samples)``.
        sample_rate_hz: Its sample rate.
        n_mels: Number of bands.
        window_s: Length of the Hann window in seconds.
        hop_s: Seconds from frame to frame; frame ``i`` is centred on ``i * hop_s``.

    Returns:
        Levels in dB ``(..., n_mels, frames)``, at least ``SILENCE_DB``.

    Example:
        >>> log_mel(torch.zeros(2, 16000), 16000).shape
        torch.Size([2, 40, 126])
    """
    window, hop = round(window_s * sample_rate_hz), round(hop_s * sample_rate_hz)
    bands = mel_filterbank(n_mels, window, sample_rate_hz).to(audio)
    return decibels(bands @ power_spectrogram(audio, window, hop))


def decibels(power: Tensor, floor_db: float = SILENCE_DB) -> Tensor:
    """Power in dB, at least ``floor_db``.

    Example:
        >>> decibels(torch.tensor([1.0, 0.01, 0.0])).tolist()
        [0.0, -20.0, -100.0]
    """
    return 10.0 * torch.log10(power.clamp(min=10.0 ** (floor_db / 10.0)))


def low_quantile(values: Tensor, quantile: float) -> Tensor:
    """Quantile ``(..., 1)`` over the last dimension, of tensors that :func:`torch.quantile` is too small for, too.

    Example:
        >>> low_quantile(torch.tensor([[3.0, 1.0, 2.0, 5.0]]), 0.5)
        tensor([[2.5000]])
    """
    rank = quantile * (values.shape[-1] - 1)
    below = int(rank)
    low = values.kthvalue(below + 1, -1, keepdim=True).values
    high = values.kthvalue(min(below + 2, values.shape[-1]), -1, keepdim=True).values
    return low + (high - low) * (rank - below)
