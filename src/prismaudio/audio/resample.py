"""Changing the sample rate with a windowed sinc, one filter for each phase."""

from __future__ import annotations

import math
from functools import lru_cache

import torch
from torch import Tensor

ZERO_CROSSINGS = 24
"""Zero crossings of the sinc on either side: long enough for a stop band below -80 dB."""
ROLL_OFF = 0.94
"""Where the pass band ends, as a share of the lower of the two Nyquist frequencies."""
KAISER_BETA = 9.0


@lru_cache(maxsize=16)
def _phases(step: int, n_phases: int) -> tuple[Tensor, int]:
    """Filters ``(n_phases, 1, taps)`` from ``step`` input to ``n_phases`` output samples, and how far they reach."""
    cutoff = min(1.0, n_phases / step) * ROLL_OFF
    reach = math.ceil(ZERO_CROSSINGS / cutoff)
    taps = torch.arange(-reach, step + reach, dtype=torch.float64)
    centres = torch.arange(n_phases, dtype=torch.float64)[:, None] * (step / n_phases)
    distance = taps - centres
    inside = (1 - (distance / reach).square()).clamp(min=0)
    beta = torch.tensor(KAISER_BETA, dtype=torch.float64)
    window = torch.where(inside > 0, torch.i0(beta * inside.sqrt()) / torch.i0(beta), 0.0)
    filters = cutoff * torch.sinc(cutoff * distance) * window
    return (filters / filters.sum(1, keepdim=True)).float()[:, None], reach


def resample(audio: Tensor, from_hz: int, to_hz: int) -> Tensor:
    """Sound at another sample rate, without delay.

    Args:
        audio: Audio ``(..., samples)``.
        from_hz: Its sample rate.
        to_hz: The sample rate wanted.

    Returns:
        Audio ``(..., round(samples * to_hz / from_hz))``.

    Example:
        >>> resample(torch.zeros(2, 44100), 44100, 16000).shape
        torch.Size([2, 16000])
    """
    if from_hz == to_hz:
        return audio
    common = math.gcd(from_hz, to_hz)
    step, n_phases = from_hz // common, to_hz // common
    filters, reach = _phases(step, n_phases)
    n_samples = round(audio.shape[-1] * to_hz / from_hz)
    n_steps = math.ceil(max(n_samples, 1) / n_phases)
    flat = audio.reshape(-1, 1, audio.shape[-1])
    right = max(0, n_steps * step + reach - audio.shape[-1])
    padded = torch.nn.functional.pad(flat, (reach, right))
    made = torch.nn.functional.conv1d(padded, filters.to(audio), stride=step)
    made = made[..., :n_steps].transpose(1, 2).reshape(flat.shape[0], -1)[:, :n_samples]
    return made.reshape(*audio.shape[:-1], n_samples)


@lru_cache(maxsize=16)
def _sinc_filters(
    step: int, n_phases: int, width: int, roll_off: float, kaiser_beta: float | None
) -> tuple[Tensor, int]:
    """Filters ``(n_phases, 1, taps)`` of :func:`sinc_resample`, and how far they reach."""
    cutoff = min(step, n_phases) * roll_off
    reach = math.ceil(width * step / cutoff)
    taps = torch.arange(-reach, reach + step, dtype=torch.float64) / step
    distance = (taps - torch.arange(n_phases, dtype=torch.float64)[:, None] / n_phases) * cutoff
    distance = distance.clamp(-width, width)
    if kaiser_beta is None:
        window = torch.cos(distance * math.pi / width / 2).square()
    else:
        beta = torch.tensor(kaiser_beta, dtype=torch.float64)
        window = torch.i0(beta * (1 - (distance / width).square()).sqrt()) / torch.i0(beta)
    filters = torch.sinc(distance) * window * (cutoff / step)
    return filters.float()[:, None], reach


def sinc_resample(
    audio: Tensor,
    from_hz: int,
    to_hz: int,
    width: int = 6,
    roll_off: float = 0.99,
    kaiser_beta: float | None = None,
) -> Tensor:
    """Sound at another sample rate by the short filter that published reward networks were trained behind.

    For everything else :func:`resample` has the better stop band.

    Args:
        audio: Audio ``(..., samples)``.
        from_hz: Its sample rate.
        to_hz: The sample rate wanted.
        width: Zero crossings of the sinc on either side.
        roll_off: Where the pass band ends, as a share of the lower of the two Nyquist frequencies.
        kaiser_beta: Shape of a Kaiser window; None for a Hann window.

    Returns:
        Audio ``(..., ceil(samples * to_hz / from_hz))``.

    Source:
        The formula of ``torchaudio.transforms.Resample``, whose numbers it gives.

    Example:
        >>> sinc_resample(torch.zeros(2, 44101), 44100, 16000).shape
        torch.Size([2, 16001])
    """
    if from_hz == to_hz:
        return audio
    common = math.gcd(from_hz, to_hz)
    step, n_phases = from_hz // common, to_hz // common
    filters, reach = _sinc_filters(step, n_phases, width, roll_off, kaiser_beta)
    n_samples = math.ceil(audio.shape[-1] * n_phases / step)
    flat = torch.nn.functional.pad(audio.reshape(-1, 1, audio.shape[-1]), (reach, reach + step))
    made = torch.nn.functional.conv1d(flat, filters.to(audio), stride=step)
    made = made.transpose(1, 2).reshape(flat.shape[0], -1)[:, :n_samples]
    return made.reshape(*audio.shape[:-1], n_samples)


def fourier_resample(audio: Tensor, n_samples: int) -> Tensor:
    """Sound of another number of samples by cutting or filling its spectrum, as if it went round in a circle.

    Args:
        audio: Audio ``(..., samples)``.
        n_samples: Samples wanted.

    Source:
        The formula of ``scipy.signal.resample``.

    Example:
        >>> fourier_resample(torch.ones(2, 100), 40).allclose(torch.ones(2, 40))
        True
    """
    given = audio.shape[-1]
    fewer = min(given, n_samples)
    spectrum = torch.fft.rfft(audio)[..., : fewer // 2 + 1]
    if fewer % 2 == 0 and given != n_samples:
        middle = 2.0 if n_samples < given else 0.5
        spectrum = torch.cat([spectrum[..., :-1], middle * spectrum[..., -1:]], dim=-1)
    return torch.fft.irfft(spectrum, n_samples) * (n_samples / given)
