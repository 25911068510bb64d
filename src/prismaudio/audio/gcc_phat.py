"""Time differences between two channels by the phase transform, frame by frame.

Sign: positive means that the right channel is later, the sound comes from the left. This is the sign of the published
spatial reward, and the opposite of :mod:`prismaudio.audio.stereo`.
"""

from __future__ import annotations

import torch
from torch import Tensor

FRAME = 3840
N_FRAMES = 512
MAX_ITD_S = 0.0015
_CANDIDATES = 1001
_CHUNK = 2**20
"""Samples of frames that are transformed at a time, for memory."""


def gcc_phat_itds_s(
    audio: Tensor, sample_rate_hz: int, frame: int = FRAME, n_frames: int = N_FRAMES, oversampling: int = 1
) -> Tensor:
    """Time difference ``(..., n_frames)`` in seconds of every frame, at most 1.5 ms.

    The lag of the largest absolute value of the correlation, not interpolated: multiples of a sample divided by
    ``oversampling``. Frames lie evenly between the beginning and the end. Silent frames have a time difference of 0.

    Args:
        audio: Sound ``(..., 2, samples)``; padded with silence to one frame.
        sample_rate_hz: Its sample rate; published numbers are at 16 kHz.
        frame: Length of a frame in samples.
        n_frames: Number of frames; 1 for the first alone.
        oversampling: How many lags there are to a sample.

    Source:
        The published GCC-PHAT, with silence the only difference: there its largest lag, 1.5 ms, is reported.
    """
    lacking = max(0, frame - audio.shape[-1])
    padded = torch.nn.functional.pad(audio, (0, lacking)).reshape(-1, 2, audio.shape[-1] + lacking)
    step = (padded.shape[-1] - frame) // max(1, n_frames - 1)
    frames = padded.unfold(-1, frame, step)[:, :, :n_frames] if step else padded[:, :, None, :frame]
    at_once = max(1, _CHUNK // (frame * frames.shape[2]))
    lags = torch.cat([_lags(some, sample_rate_hz, oversampling) for some in frames.split(at_once)])
    itds_s = -lags.float() / (oversampling * sample_rate_hz)
    return itds_s.expand(-1, n_frames).reshape(*audio.shape[:-2], n_frames)


def gcc_phat_itd_s(
    audio: Tensor, sample_rate_hz: int, frame: int = FRAME, n_frames: int = N_FRAMES, oversampling: int = 1
) -> Tensor:
    """Mean time difference ``(...)`` in seconds over the frames of sound ``(..., 2, samples)``.

    The arguments are those of :func:`gcc_phat_itds_s`.

    Example:
        >>> noise = torch.randn(8008, generator=torch.Generator().manual_seed(0))
        >>> late_right = torch.stack([noise[8:], noise[:8000]])
        >>> 16_000 * gcc_phat_itd_s(late_right[None], 16_000, n_frames=4)
        tensor([8.])
    """
    return gcc_phat_itds_s(audio, sample_rate_hz, frame, n_frames, oversampling).mean(-1)


def consensus(values: Tensor, tolerance: float) -> Tensor:
    """Mean ``(...)`` of those of the values ``(..., n)`` that most others are near to.

    1001 candidates lie evenly from the lowest value to the highest. The middle one of those that have the most values
    within the tolerance is taken, and the mean of these values is returned.

    Args:
        values: Values, for instance time differences in samples.
        tolerance: How far from a candidate a value may be; the published one is 0.05 samples.

    Source:
        The published RANSAC of time differences.

    Example:
        >>> consensus(torch.tensor([[1.0, 5.0, 5.02, 9.0]]), 0.05)
        tensor([5.0100], dtype=torch.float64)
    """
    values = values.double()
    low, high = values.amin(-1, keepdim=True), values.amax(-1, keepdim=True)
    candidates = low + (high - low) * torch.linspace(0, 1, _CANDIDATES, dtype=values.dtype, device=values.device)
    near = (values[..., None, :] - candidates[..., :, None]).abs() <= tolerance
    counts = near.sum(-1)
    best = counts == counts.amax(-1, keepdim=True)
    middle = (best.cumsum(-1) == best.sum(-1, keepdim=True) // 2 + 1).int().argmax(-1)
    chosen = near.gather(-2, middle[..., None, None].expand(*middle.shape, 1, values.shape[-1])).squeeze(-2)
    return (values * chosen).sum(-1) / chosen.sum(-1)


def _lags(frames: Tensor, sample_rate_hz: int, oversampling: int) -> Tensor:
    """Lags ``(batch, frames)`` of the highest peaks of ``(batch, 2, frames, samples)``."""
    size = frames.shape[-1]
    spectra = torch.fft.rfft(frames, 2 * size)
    cross = spectra[:, 0] * spectra[:, 1].conj()
    whitened = cross / (cross.abs() + 1e-20)
    correlation = torch.fft.irfft(whitened, oversampling * 2 * size).abs()
    reach = min(int(oversampling * sample_rate_hz * MAX_ITD_S), oversampling * size)
    around = torch.cat([correlation[..., -reach:], correlation[..., : reach + 1]], dim=-1)
    lags = around.argmax(-1) - reach
    return torch.where(around.amax(-1) > 0, lags, 0)
