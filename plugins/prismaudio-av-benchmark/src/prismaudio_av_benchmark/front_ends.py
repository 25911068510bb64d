"""What the networks have in common before their first layer: mono audio without DC, mel filters and Kaldi's frames."""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor
from torch.nn import functional as F

from prismaudio.audio.resample import sinc_resample

WINDOW, HOP, N_FFT = 400, 160, 512
"""Samples of a window of 25 ms at 16 kHz, between windows, and of their FFT."""
PRE_EMPHASIS = 0.97


def mono_at(audio: Tensor, from_hz: int, to_hz: int, length_s: float | None = None) -> Tensor:
    """The mean of the channels of audio ``(channels, samples)`` without its DC, resampled, and cut if it is longer.

    Source:
        ``AudioDataset`` of av-benchmark.

    Example:
        >>> mono_at(torch.tensor([[0.0, 1.0], [2.0, 5.0]]), 16_000, 16_000)
        tensor([-1.,  1.])
    """
    mono = audio.float().mean(0)
    samples = sinc_resample(mono - mono.mean(), from_hz, to_hz)
    return samples if length_s is None else samples[: int(to_hz * length_s)]


@lru_cache(maxsize=8)
def triangles_in_mel(n_mels: int, n_fft: int, sample_rate_hz: int, low_hz: float, high_hz: float) -> Tensor:
    """Mel filters ``(n_mels, n_fft // 2 + 1)`` that are triangles of height 1 over mel, not over Hz.

    Source:
        The formula of Kaldi, which VGGish has as well.

    Example:
        >>> triangles_in_mel(64, 512, 16_000, 125, 7500).shape
        torch.Size([64, 257])
    """
    bins = _mel(torch.linspace(0, sample_rate_hz / 2, n_fft // 2 + 1, dtype=torch.float64))
    ends = _mel(torch.tensor([low_hz, high_hz], dtype=torch.float64))
    edges = torch.linspace(float(ends[0]), float(ends[1]), n_mels + 2, dtype=torch.float64)[:, None]
    step = edges[1] - edges[0]
    return torch.minimum((bins - edges[:-2]) / step, (edges[2:] - bins) / step).clamp(min=0).float()


def _mel(frequency_hz: Tensor) -> Tensor:
    return 1127 * torch.log1p(frequency_hz / 700)


def kaldi_fbank(mono: Tensor, n_mels: int) -> Tensor:
    """Log-mel energies ``(..., frames, n_mels)`` of audio ``(..., samples)`` at 16 kHz, without dither.

    Source:
        The formula of ``torchaudio.compliance.kaldi.fbank`` with a Hann window and mel filters from 20 Hz to 8 kHz.

    Example:
        >>> kaldi_fbank(torch.zeros(32_000), 128).shape
        torch.Size([198, 128])
    """
    frames = mono.unfold(-1, WINDOW, HOP)
    frames = frames - frames.mean(-1, keepdim=True)
    before = torch.cat([frames[..., :1], frames[..., :-1]], -1)
    window = torch.hann_window(WINDOW, periodic=False, dtype=mono.dtype, device=mono.device)
    power = torch.fft.rfft((frames - PRE_EMPHASIS * before) * window, N_FFT).abs().square()
    energies = power @ triangles_in_mel(n_mels, N_FFT, 16_000, 20, 8000).T.to(power)
    return energies.clamp(min=torch.finfo(torch.float32).eps).log()


def at_least(audio: Tensor, n_samples: int) -> Tensor:
    """Audio ``(..., samples)`` padded with silence to a minimum length."""
    return F.pad(audio, (0, max(0, n_samples - audio.shape[-1])))
