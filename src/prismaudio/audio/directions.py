"""Interaural differences over time, of many sounds at once; :mod:`prismaudio.audio.stereo` has those of one part."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import pad

from prismaudio.audio.resample import resample
from prismaudio.audio.stereo import MAX_ITD_S

RATE_HZ = 16_000
WINDOW_S, HOP_S = 0.08, 0.04
OVERSAMPLING = 4
WHITENING = 0.5
FLOOR = 1e-7
"""Mean power that is added to both channels: -70 dB, so that silence has no side."""
N_FFT = 1536
"""At least a window and the longest difference in time."""


@dataclass(frozen=True, eq=False)
class Directions:
    """What each window of sounds says about its direction; positive is right.

    Args:
        itd_ms: How much later the left channel is, in ms ``(batch, windows)``.
        ild_db: How much louder the right channel is, in dB ``(batch, windows)``.
        power: Mean power of both channels ``(batch, windows)``.
        spectra: Spectra of both channels ``(batch, windows, 2, bins)``.
    """

    itd_ms: Tensor
    ild_db: Tensor
    power: Tensor
    spectra: Tensor

    def first(self, n: int) -> Directions:
        """The first ``n`` windows."""
        return Directions(self.itd_ms[:, :n], self.ild_db[:, :n], self.power[:, :n], self.spectra[:, :n])

    def left_over(self, itd_ms: Tensor, ild_db: Tensor) -> Tensor:
        """The side energy of each window, once it is turned so that a direction is in the middle ``(batch, windows)``.

        The channels are delayed and weighted until what comes from that direction is the same in both, and then taken
        from each other: 0 when all of it comes from there, 0.5 when the channels have nothing to do with each other.

        Args:
            itd_ms: Difference in time that belongs to the direction ``(batch, windows)``.
            ild_db: Difference in level that belongs to it.
        """
        gain = 10 ** (ild_db / 40)[..., None, None]
        left, right = (self.spectra * torch.cat([gain, 1 / gain], -2)).unbind(-2)
        bins = torch.arange(left.shape[-1], device=left.device)
        turn = (2 * math.pi * RATE_HZ / N_FFT / 1000) * itd_ms[..., None] * bins
        same = (left * right.conj() * torch.polar(torch.ones_like(turn), turn)).real.sum(-1)
        total = _power(left).sum(-1) + _power(right).sum(-1)
        return 0.5 - same / total.clamp(min=1e-12)


def directions(audio: Tensor, sample_rate_hz: int) -> Directions:
    """The interaural differences in windows of 80 ms, one every 40 ms.

    Window ``i`` begins at ``i * HOP_S`` and is no longer than the sound.

    Args:
        audio: Sounds ``(batch, 2, samples)``.
        sample_rate_hz: Their sample rate.

    Example:
        >>> directions(torch.zeros(3, 2, 16_000), 16_000).ild_db.shape
        torch.Size([3, 24])
    """
    sound = resample(audio.float(), sample_rate_hz, RATE_HZ)
    length, hop = round(WINDOW_S * RATE_HZ), round(HOP_S * RATE_HZ)
    sound = pad(sound, (0, max(0, length - sound.shape[-1])))
    windows = sound.unfold(-1, length, hop).transpose(1, 2)
    power = windows.square().mean(-1)
    spectra = torch.fft.rfft(windows, N_FFT)
    left, right = spectra.unbind(-2)
    cross = left * right.conj()
    size = _power(cross).clamp(min=1e-20).pow(WHITENING / 2)
    cross = torch.view_as_real(cross / size).flatten(-2)
    waves, lags_ms = _waves(sound.device)
    correlation = cross @ waves
    ild_db = 10 * torch.log10((power[..., 1] + FLOOR) / (power[..., 0] + FLOOR))
    return Directions(_highest(correlation, lags_ms), ild_db, power.mean(-1), spectra)


def n_windows(duration_s: float) -> int:
    """Number of windows of a sound."""
    return 1 + max(0, round(duration_s * RATE_HZ) - round(WINDOW_S * RATE_HZ)) // round(HOP_S * RATE_HZ)


def _power(values: Tensor) -> Tensor:
    return values.real.square() + values.imag.square()


def _waves(device: torch.device) -> tuple[Tensor, Tensor]:
    """What makes a cross-correlation of a cross-spectrum ``(2 * bins, lags)``, and the lags in ms."""
    reach = round(MAX_ITD_S * RATE_HZ * OVERSAMPLING)
    lags = torch.arange(-reach, reach + 1, device=device) / OVERSAMPLING
    turn = 2 * math.pi / N_FFT * torch.arange(N_FFT // 2 + 1, device=device)[:, None] * lags
    return torch.stack([torch.cos(turn), -torch.sin(turn)], 1).flatten(0, 1), 1000 * lags / RATE_HZ


def _highest(correlation: Tensor, lags_ms: Tensor) -> Tensor:
    """The lag of the highest peak, interpolated by a parabola."""
    best = correlation.argmax(-1, keepdim=True).clamp(1, len(lags_ms) - 2)
    before, top, after = (correlation.gather(-1, best + step)[..., 0] for step in (-1, 0, 1))
    bend = before - 2 * top + after
    offset = torch.where(bend < 0, 0.5 * (before - after) / bend.clamp(max=-1e-20), 0.0).clamp(-0.5, 0.5)
    step_ms = lags_ms[1] - lags_ms[0]
    return lags_ms[best[..., 0]] + offset * step_ms
