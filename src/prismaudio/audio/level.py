"""Peak levels relative to full scale, and a limiter at -1 dB."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor
from torch.nn.functional import avg_pool1d, max_pool1d, pad

from prismaudio.audio.resample import resample
from prismaudio.audio.spectral import decibels
from prismaudio.errors import PrismAudioError

PEAK_DB = -1.0
"""Maximum level of generated audio."""
PEAK = 10 ** (PEAK_DB / 20)
LOOK_AHEAD_S = 0.02
"""Attack and release time of the limiter around samples that exceed the maximum level."""
LIMITED_SAMPLES = 1 << 16
"""Chunk size of the limiter in samples; a chunk without excessive peaks keeps its samples, at no cost."""
_PIECE, _MARGIN = 1 << 20, 64
"""Chunk size of the true-peak measurement in samples, and the margin that the interpolation filter needs."""


def peak_db(audio: Tensor) -> float:
    """Return the level of the largest absolute sample, in dB relative to full scale.

    Example:
        >>> peak_db(torch.tensor([[0.1, -1.0], [0.5, 0.2]]))
        0.0
    """
    return float(decibels(audio.abs().amax().square())) if audio.numel() else float(decibels(torch.zeros(())))


def true_peak_db(audio: Tensor, sample_rate_hz: int) -> float:
    """Return the true-peak level: the peak of the waveform at and between samples, at four times the sample rate.

    Source: ITU-R BS.1770-5, annex 2, with a longer interpolation filter.
    """
    peaks_db = []
    for first in range(0, max(1, audio.shape[-1]), _PIECE):
        begin, end = max(0, first - _MARGIN), first + _PIECE
        finer = resample(audio[..., begin : end + _MARGIN], sample_rate_hz, 4 * sample_rate_hz)
        peaks_db += [peak_db(audio[..., first:end]), peak_db(finer[..., 4 * (first - begin) : 4 * (end - begin)])]
    return max(peaks_db)


def leveled(audio: Tensor, peaks: Literal["sample", "batch"] = "sample") -> Tensor:
    """Scale waveforms ``(rows, 2, samples)`` to float32 at a playable level, each with one gain.

    Args:
        audio: Decoded waveforms.
        peaks: ``sample`` attenuates each waveform that exceeds -1 dB; ``batch`` divides all by their common peak.

    Example:
        >>> leveled(torch.tensor([[[2.0, -1.0]], [[0.5, 0.1]]]))[1].tolist()
        [[0.5, 0.10000000149011612]]
    """
    audio = audio.float()
    if peaks == "batch":
        return audio / audio.abs().amax().clamp(min=1e-8)
    peak = audio.abs().amax(dim=(1, 2), keepdim=True)
    return audio * (PEAK / peak).clamp(max=1)


def limit_(audio: Tensor, sample_rate_hz: int) -> Tensor:
    """Limit audio ``(2, samples)`` in place to a true peak of -1 dB.

    The gain is reduced around excessive peaks only, and equally in both channels.

    Raises:
        PrismAudioError: The audio is not finite.

    Example:
        >>> loud = 4 * torch.sin(torch.arange(1600) / 5).repeat(2, 1)
        >>> round(true_peak_db(limit_(loud, 16000), 16000), 2)
        -1.0
    """
    if not all(bool(piece.isfinite().all()) for piece in audio.split(_PIECE, dim=1)):
        raise PrismAudioError("the audio contains NaN or infinity; expected finite numbers")
    if true_peak_db(audio, sample_rate_hz) <= PEAK_DB:
        return audio
    reach = max(1, round(LOOK_AHEAD_S * sample_rate_hz))
    before = audio[:, :0]  # unlimited samples before the chunk, which the gain depends on
    for first in range(0, audio.shape[1], LIMITED_SAMPLES):
        end, n_before = first + LIMITED_SAMPLES, before.shape[1]
        piece = torch.cat([before, audio[:, first : end + 2 * reach]], 1)
        before = audio[:, max(first, end - 2 * reach) : end].clone()
        too_loud = (piece.abs().amax(0) / PEAK).clamp_min(1)[None]
        if bool((too_loud == 1).all()):
            continue
        lowered = (piece * _gain(too_loud, reach))[:, n_before : n_before + LIMITED_SAMPLES]
        audio[:, first:end] = lowered
    excess_db = true_peak_db(audio, sample_rate_hz) - PEAK_DB  # remaining peaks between samples
    return audio.mul_(10 ** (-excess_db / 20)) if excess_db > 0 else audio


def _gain(too_loud: Tensor, reach: int) -> Tensor:
    """Compute the gain of every sample, ``(1, samples)``, from peaks relative to the maximum, at least 1.

    It changes smoothly over ``reach`` samples.
    """
    gain = 1 / max_pool1d(too_loud, 2 * reach + 1, 1, reach)
    return avg_pool1d(pad(gain[None], (reach, reach), mode="replicate")[0], 2 * reach + 1, 1)
