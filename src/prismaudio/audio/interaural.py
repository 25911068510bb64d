"""Interaural time and level differences between the left and the right channel.

Signs: positive is right. A positive time difference means that the left channel lags behind the right one, a positive
level difference that the right channel is louder.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn.functional import pad

from prismaudio.audio.resample import resample
from prismaudio.audio.spectral import decibels

if TYPE_CHECKING:
    from prismaudio.plan.story import Source

MAX_ITD_S = 0.001
"""Maximum absolute time difference of the search, slightly above the physical limit of a human head."""
PUBLISHED_MAX_ITD_S = 0.0015
"""Maximum absolute time difference of the published GCC-PHAT."""
PUBLISHED_FRAME, PUBLISHED_FRAMES = 3840, 512
"""Frame length in samples and number of frames of the published GCC-PHAT."""
RATE_HZ = 16_000
"""Sample rate of :func:`directions`."""
WINDOW_S, HOP_S = 0.08, 0.04
N_FFT = 1536
"""At least the frame length plus the maximum time difference."""
FLOOR = 1e-7
"""Mean power that is added to both channels: -70 dB, so that silence has a level difference of 0."""
_TINY = 1e-20
_CHUNK = 2**20
"""Number of samples that are transformed at once, to limit memory."""
_DIRECT_N_FFT = 8192
"""Up to this length, a matrix product over few lags is faster than an inverse transform, which computes all lags."""


def azimuths_deg(source: Source, times_s: Tensor) -> Tensor:
    """Return the direction of a source at times ``(n,)``, NaN if not stated; vectorised :meth:`Source.azimuth_at`.

    Example:
        >>> from prismaudio.plan.story import Source
        >>> azimuths_deg(Source("car", (1.0,), 3.0, (-20.0, 20.0)), torch.tensor([0.0, 1.5, 9.0]))
        tensor([-20., -10.,  20.])
    """
    first_deg, last_deg = source.azimuth_deg or (math.nan, math.nan)
    if not source.onsets_s:
        return torch.full_like(times_s, first_deg)
    first_s = source.onsets_s[0]
    share = ((times_s - first_s) / max(source.last_s - first_s, 1e-3)).clamp(0, 1)
    return first_deg + (last_deg - first_deg) * share


def ild_db(audio: Tensor, floor_db: float = -80.0) -> Tensor:
    """Compute the interaural level difference ``(...)`` in dB: level of the right channel minus that of the left.

    Args:
        audio: Waveforms ``(..., 2, samples)``.
        floor_db: Lower limit of the channel levels.

    Example:
        >>> ild_db(torch.tensor([[0.1, -0.1], [0.2, -0.2]]))
        tensor(6.02...)
    """
    left, right = decibels(audio.square().sum(-1) / max(1, audio.shape[-1]), floor_db).unbind(-1)
    return right - left


def itd_s(
    audio: Tensor,
    sample_rate_hz: int,
    whitening: float = 0.5,
    oversampling: int = 8,
    max_itd_s: float = MAX_ITD_S,
) -> Tensor:
    """Compute the interaural time difference ``(...)`` in seconds: the lag of the left channel behind the right one.

    It is the lag of the highest peak of the generalised cross-correlation, interpolated between samples; 0 for silence.

    Args:
        audio: Waveforms ``(..., 2, samples)``.
        sample_rate_hz: Their sample rate.
        whitening: Exponent of the weighting of the cross-spectrum: 0 is plain cross-correlation, 1 is the phase
            transform. Values in between are robust to noise around a tone and to strong resonances after an attack.
        oversampling: Number of lags per sample.
        max_itd_s: Maximum absolute time difference of the search, in seconds.

    Example:
        >>> noise = torch.randn(2008, generator=torch.Generator().manual_seed(0))
        >>> late_left = torch.stack([noise[:2000], noise[8:]])  # the left channel lags by 8 samples
        >>> round(16_000 * itd_s(late_left, 16_000).item(), 2)
        8.0
    """
    n_fft = 2 ** math.ceil(math.log2(2 * max(1, audio.shape[-1])))
    spectra = torch.fft.rfft(audio, n_fft)
    reach = int(oversampling * sample_rate_hz * max_itd_s)
    return _peak_lags(spectra, n_fft, whitening, oversampling, reach) / (oversampling * sample_rate_hz)


def gcc_phat_itds_s(
    audio: Tensor,
    sample_rate_hz: int,
    frame: int = PUBLISHED_FRAME,
    n_frames: int = PUBLISHED_FRAMES,
    oversampling: int = 1,
    max_itd_s: float = PUBLISHED_MAX_ITD_S,
) -> Tensor:
    """Compute the interaural time difference ``(..., n_frames)`` in seconds per frame with the published GCC-PHAT.

    It is the lag of the largest absolute value of the correlation, at most 1.5 ms and not interpolated: a multiple of a
    sample divided by ``oversampling``. Frames are evenly spaced from the start to the end.

    Args:
        audio: Waveforms ``(..., 2, samples)``; padded with silence to one frame.
        sample_rate_hz: Their sample rate; published numbers are at 16 kHz.
        frame: Length of a frame in samples.
        n_frames: Number of frames; 1 for the first alone.
        oversampling: How many lags there are to a sample.
        max_itd_s: Maximum absolute time difference of the search.

    Source:
        The published GCC-PHAT, with two changes: the sign is inverted, and the result for silent frames is 0 instead of
        the maximum lag of 1.5 ms.

    Example:
        >>> noise = torch.randn(8008, generator=torch.Generator().manual_seed(0))
        >>> late_left = torch.stack([noise[:8000], noise[8:]])
        >>> 16_000 * gcc_phat_itds_s(late_left, 16_000, n_frames=3)
        tensor([8., 8., 8.])
    """
    lacking = max(0, frame - audio.shape[-1])
    padded = pad(audio, (0, lacking)).reshape(-1, 2, audio.shape[-1] + lacking)
    step = (padded.shape[-1] - frame) // max(1, n_frames - 1)
    frames = padded.unfold(-1, frame, step)[:, :, :n_frames] if step else padded[:, :, None, :frame]
    frames = frames.transpose(1, 2)
    reach = min(int(oversampling * sample_rate_hz * max_itd_s), oversampling * frame)

    def lags(chunk: Tensor) -> Tensor:
        spectra = torch.fft.rfft(chunk, 2 * frame)
        return _peak_lags(spectra, 2 * frame, 1.0, oversampling, reach, published=True)

    batch_size = max(1, _CHUNK // (frame * frames.shape[1]))
    itds_s = torch.cat([lags(chunk) for chunk in frames.split(batch_size)]) / (oversampling * sample_rate_hz)
    return itds_s.expand(-1, n_frames).reshape(*audio.shape[:-2], n_frames)


@dataclass(frozen=True, eq=False)
class Directions:
    """Interaural differences per frame of audio.

    Args:
        itd_ms: Lag of the left channel in ms ``(batch, frames)``.
        ild_db: Level of the right channel relative to the left, in dB ``(batch, frames)``.
        power: Mean power of both channels ``(batch, frames)``.
        spectra: Spectra of both channels ``(batch, frames, 2, bins)``.
    """

    itd_ms: Tensor
    ild_db: Tensor
    power: Tensor
    spectra: Tensor

    def first(self, n: int) -> Directions:
        """Return the first ``n`` frames."""
        return Directions(self.itd_ms[:, :n], self.ild_db[:, :n], self.power[:, :n], self.spectra[:, :n])

    def residual(self, itd_ms: Tensor, ild_db: Tensor) -> Tensor:
        """Compute the relative side energy ``(batch, frames)`` after the frames are steered to a direction.

        The channels are delayed and weighted so that a source in that direction is equal in both, and then subtracted:
        0 if all energy comes from that direction, 0.5 if the channels are uncorrelated.

        Args:
            itd_ms: Time difference of the direction ``(batch, frames)``.
            ild_db: Level difference of the direction ``(batch, frames)``.
        """
        gain = 10 ** (ild_db / 40)[..., None, None]
        left, right = (self.spectra * torch.cat([gain, 1 / gain], -2)).unbind(-2)
        bins = torch.arange(left.shape[-1], device=left.device)
        turn = (2 * math.pi * RATE_HZ / N_FFT / 1000) * itd_ms[..., None] * bins
        same = (left * right.conj() * torch.polar(torch.ones_like(turn), turn)).real.sum(-1)
        total = (_power(left) + _power(right)).sum(-1)
        return 0.5 - same / total.clamp(min=1e-12)


def directions(audio: Tensor, sample_rate_hz: int) -> Directions:
    """Compute the interaural differences in frames of 80 ms with a hop of 40 ms.

    Frame ``i`` begins at ``i * HOP_S``; audio shorter than a frame is padded with silence.

    Args:
        audio: Waveforms ``(batch, 2, samples)``.
        sample_rate_hz: Their sample rate.

    Example:
        >>> directions(torch.zeros(3, 2, 16_000), 16_000).ild_db.shape
        torch.Size([3, 24])
    """
    audio = resample(audio.float(), sample_rate_hz, RATE_HZ)
    length, hop = round(WINDOW_S * RATE_HZ), round(HOP_S * RATE_HZ)
    audio = pad(audio, (0, max(0, length - audio.shape[-1])))
    frames = audio.unfold(-1, length, hop).transpose(1, 2)
    power = frames.square().mean(-1)
    spectra = torch.fft.rfft(frames, N_FFT)
    oversampling = 4
    lags = _peak_lags(spectra, N_FFT, 0.5, oversampling, int(oversampling * RATE_HZ * MAX_ITD_S))
    ild_db = 10 * torch.log10((power[..., 1] + FLOOR) / (power[..., 0] + FLOOR))
    return Directions(1000 / (oversampling * RATE_HZ) * lags, ild_db, power.mean(-1), spectra)


def n_windows(duration_s: float) -> int:
    """Return the number of frames that :func:`directions` computes for a duration in seconds."""
    return 1 + max(0, round(duration_s * RATE_HZ) - round(WINDOW_S * RATE_HZ)) // round(HOP_S * RATE_HZ)


def _peak_lags(
    spectra: Tensor, n_fft: int, whitening: float, oversampling: int, reach: int, *, published: bool = False
) -> Tensor:
    """Find the lag ``(...)`` of the highest peak of the generalised cross-correlation, in samples / ``oversampling``.

    Args:
        spectra: Spectra of the left and the right channel ``(..., 2, n_fft // 2 + 1)``.
        n_fft: FFT length of the spectra.
        whitening: Exponent of the weighting of the cross-spectrum.
        oversampling: Number of lags per sample.
        reach: Maximum lag.
        published: Whether to use absolute values and no interpolation, as the published GCC-PHAT does.

    Source:
        Knapp and Carter, "The generalized correlation method for estimation of time delay", 1976.
    """
    left, right = spectra.unbind(-2)
    cross = left * right.conj()
    cross = cross / (cross.abs() + _TINY).pow(whitening)
    reach = min(reach, oversampling * n_fft // 2)
    if n_fft <= _DIRECT_N_FFT:
        waves = _waves(n_fft, oversampling, reach).to(spectra.device, spectra.real.dtype)
        around = torch.view_as_real(cross).flatten(-2) @ waves
    else:
        correlation = torch.fft.irfft(cross, oversampling * n_fft, norm="forward")
        around = torch.cat([correlation[..., -reach:], correlation[..., : reach + 1]], dim=-1)
    if published:
        around = around.abs()
    top, best = around.max(-1)
    lag = (best - reach).to(around.dtype)
    if not published:
        inner = best.clamp(1, 2 * reach - 1)
        before, middle, after = (around.gather(-1, (inner + step)[..., None])[..., 0] for step in (-1, 0, 1))
        bend = before - 2 * middle + after
        offset = (0.5 * (before - after) / bend.clamp(max=-_TINY)).clamp(-0.5, 0.5)
        lag = lag + torch.where((best == inner) & (bend < 0), offset, 0.0)
    return torch.where(top > 0, lag, 0.0)


def _power(spectra: Tensor) -> Tensor:
    return spectra.real.square() + spectra.imag.square()


@lru_cache(maxsize=8)
def _waves(n_fft: int, oversampling: int, reach: int) -> Tensor:
    """Create the inverse transform to ``2 * reach + 1`` lags of a cross-spectrum: ``(2 * bins, lags)``, float64."""
    size, bins = oversampling * n_fft, torch.arange(n_fft // 2 + 1)
    turn = 2 * math.pi / size * (bins[:, None] * torch.arange(-reach, reach + 1) % size).double()
    weights = torch.where((bins == 0) | (2 * bins == size), 1.0, 2.0)[:, None]
    return (weights[:, None] * torch.stack([turn.cos(), -turn.sin()], 1)).flatten(0, 1)
