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
        audio: Sound ``(..., samples)``.
        from_hz: Its sample rate.
        to_hz: The sample rate wanted.

    Returns:
        Sound ``(..., round(samples * to_hz / from_hz))``.

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
