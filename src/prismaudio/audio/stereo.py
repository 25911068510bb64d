"""Where a sound comes from: time and level differences between the ears.

Signs: positive is right. A positive time difference means that the sound reaches the left channel later than the
right one, a positive level difference that the right channel is louder.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from prismaudio.audio.spectral import decibels

MAX_ITD_S = 0.001
"""Time differences are looked for within plus or minus this, a little more than a head allows."""


def cut(audio: Tensor, sample_rate_hz: int, start_s: float, duration_s: float) -> Tensor:
    """The part ``(..., samples)`` of a sound that begins at ``start_s``, as far as there is any."""
    start = max(0, round(start_s * sample_rate_hz))
    stop = max(start, round((start_s + duration_s) * sample_rate_hz))
    return audio[..., start:stop]


def ild_db(audio: Tensor, floor_db: float = -80.0) -> float:
    """Interaural level difference: level of the right channel minus that of the left, in dB.

    Args:
        audio: A part of a sound ``(2, samples)``.
        floor_db: Softer channels count as this.

    Example:
        >>> ild_db(torch.tensor([[0.1, -0.1], [0.2, -0.2]]))
        6.02...
    """
    if audio.shape[-1] == 0:
        return 0.0
    levels = decibels(audio.double().square().mean(-1), floor_db)
    return float(levels[1] - levels[0])


def itd_s(audio: Tensor, sample_rate_hz: int, whitening: float = 0.5, max_itd_s: float = MAX_ITD_S) -> float:
    """Interaural time difference: by how much the left channel is later than the right one, in seconds.

    Args:
        audio: A part of a sound ``(2, samples)``.
        sample_rate_hz: Its sample rate.
        whitening: Exponent of the weighting of the cross-spectrum: 0 is plain cross-correlation, 1 is the phase
            transform. Between the two, noise does not drown a tone and a strong resonance does not drown the attack.
        max_itd_s: Where the search ends, in seconds.

    Returns:
        The lag of the highest peak of the generalised cross-correlation, interpolated between samples.

    Source:
        Knapp and Carter, "The generalized correlation method for estimation of time delay", 1976.

    Example:
        >>> noise = torch.randn(2008, generator=torch.Generator().manual_seed(0))
        >>> late_left = torch.stack([noise[:2000], noise[8:]])  # left hears 8 samples later what right hears now
        >>> round(itd_s(late_left, 16000) * 16000, 2)
        8.0
    """
    n_samples = audio.shape[-1]
    if n_samples < 2 or float(audio.abs().amax()) == 0.0:
        return 0.0
    size = 2 ** math.ceil(math.log2(2 * n_samples))
    left, right = torch.fft.rfft(audio.double(), size)
    cross = left * right.conj()
    cross = cross / cross.abs().clamp(min=1e-6 * float(cross.abs().amax()) + 1e-30).pow(whitening)
    oversampling = 8
    correlation = torch.fft.irfft(cross, size * oversampling)
    reach = math.floor(max_itd_s * sample_rate_hz * oversampling)
    around = torch.cat([correlation[-reach:], correlation[: reach + 1]])
    best = int(around.argmax())
    lag = best - reach + _parabola_offset(around, best)
    return lag / (sample_rate_hz * oversampling)


def _parabola_offset(values: Tensor, index: int) -> float:
    """Where the parabola through a maximum and its neighbours has its top, relative to ``index``."""
    if index in (0, len(values) - 1):
        return 0.0
    before, top, after = (float(v) for v in values[index - 1 : index + 2])
    bend = before - 2 * top + after
    return 0.0 if bend == 0 else max(-0.5, min(0.5, 0.5 * (before - after) / bend))
