"""How recordings are: noise floor, clipping, missing highs, a constant offset, reverberation.

Levels are in dB. Waveforms are ``(batch, 2, samples)``; results are ``(batch,)`` and finite for silence too, where
nothing else is said.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import pad

from prismaudio.audio.onsets import min_strength, onset_peaks
from prismaudio.audio.spectral import decibels, low_quantile, power_spectrogram

FLOOR_FRAME_S, BLOCK_S = 0.02, 0.01
NEAR_TOP = 0.97
HIGHS_HZ = 3000.0
DIRECT_S = 0.05
LATE_S = (0.2, 0.35)
"""The late part begins where most struck sounds have died away, and ends before the next one as a rule."""
SILENT = 1e-8
"""Mean power, -80 dB, below which there is no direct sound."""


def noise_floor_db(audio: Tensor, sample_rate_hz: int) -> Tensor:
    """What is heard when nothing happens: the level that a tenth of the frames of 20 ms is below.

    Example:
        >>> noise = 0.01 * torch.randn(1, 2, 16000, generator=torch.Generator().manual_seed(0))
        >>> noise_floor_db(noise, 16000).round()
        tensor([-40.])
    """
    levels = decibels(_blocks(audio.square().mean(1), FLOOR_FRAME_S, sample_rate_hz).mean(2))
    return low_quantile(levels, 0.1)[:, 0]


def flat_tops(audio: Tensor, sample_rate_hz: int) -> Tensor:
    """Share of the samples, 0 .. 1, that are as high as any within 10 ms, where it is loud: peaks that are cut off.

    Example:
        >>> wave = torch.sin(2 * torch.pi * 300 * torch.arange(16_000) / 16_000).repeat(1, 2, 1)
        >>> flat_tops(torch.cat([wave, (4 * wave).clamp(-1, 1)]), 16_000)
        tensor([0.16..., 0.83...])
    """
    blocks = _blocks(audio.abs().amax(1), BLOCK_S, sample_rate_hz)
    tops = blocks.amax(2)
    loud = (tops > 0.5 * tops.amax(1, keepdim=True)).float()
    near = (blocks > NEAR_TOP * tops[..., None]).float().mean(2)
    return (near * loud).sum(1) / loud.sum(1).clamp(min=1)


def highs_db(audio: Tensor, sample_rate_hz: int) -> Tensor:
    """Power above 3 kHz relative to all power, where it is loud; 0 to -60 dB."""
    window = max(4, 2 * round(0.016 * sample_rate_hz))
    power = power_spectrogram(audio, window, window // 2).sum(1)
    frames = power.sum(1, keepdim=True)
    spectrum = (power * (frames > 0.01 * frames.amax(2, keepdim=True))).sum(2)
    high = torch.linspace(0, sample_rate_hz / 2, window // 2 + 1, device=audio.device) > HIGHS_HZ
    return decibels((spectrum * high).sum(1) / spectrum.sum(1).clamp(min=1e-12), -60.0)


def offset_share(audio: Tensor) -> Tensor:
    """The constant part of a sound relative to its rms, 0 .. 1."""
    return (audio.mean(2).square().mean(1) / audio.square().mean((1, 2)).clamp(min=1e-12)).sqrt()


def late_energy_db(audio: Tensor, sample_rate_hz: int, onsets_s: Tensor) -> Tensor:
    """What is left of events when the direct sound has gone: its level relative to that of the direct sound.

    Args:
        audio: Waveforms ``(batch, 2, samples)``.
        sample_rate_hz: Their sample rate.
        onsets_s: When events begin ``(batch, n)``; the direct sound is looked for up to 50 ms around that.

    Returns:
        Mean power 200 .. 350 ms after each onset relative to the loudest 10 ms around it, in dB ``(batch, n)``, at
        least -60; NaN where the sound ends before that or the event is silent.

    Example:
        >>> t = torch.arange(16000) / 16000
        >>> decay = torch.randn(1, 2, 16000, generator=torch.Generator().manual_seed(0)) * 10 ** (-t)  # 20 dB a second
        >>> (late_energy_db(decay, 16000, torch.tensor([[0.0, 0.9]])) + 5.5).abs() < 1.5
        tensor([[ True, False]])
    """
    power = _Power(audio, sample_rate_hz)
    n_blocks = round(2 * DIRECT_S / BLOCK_S)
    starts_s = [onsets_s - DIRECT_S + block * BLOCK_S for block in range(n_blocks)]
    direct = torch.stack([power.mean(start_s, start_s + BLOCK_S) for start_s in starts_s]).amax(0)
    late = power.mean(onsets_s + LATE_S[0], onsets_s + LATE_S[1])
    measurable = (direct >= SILENT) & (onsets_s + LATE_S[1] <= audio.shape[-1] / sample_rate_hz + 1e-5)
    return torch.where(measurable, decibels(late / direct.clamp(min=SILENT), -60.0), torch.nan)


def detected_late_energy_db(
    audio: Tensor, sample_rate_hz: int, start_s: Tensor, stop_s: Tensor
) -> tuple[Tensor, Tensor]:
    """Late energy of the onsets that are heard and have 350 ms to themselves.

    Args:
        audio: Waveforms ``(batch, 2, samples)``.
        sample_rate_hz: Their sample rate.
        start_s: When things that last begin ``(batch, n)``: onsets while they do are left out.
        stop_s: When they end.

    Returns:
        Mean over the onsets in dB, at least -60, and how many there are, softly counted.
    """
    times_s, strength = onset_peaks(audio, sample_rate_hz)
    clear = (strength / min_strength(strength)).pow(4)
    clear = clear / (1 + clear)
    later_s = times_s[:, None] - times_s[..., None]
    followed = ((later_s > 0.01) & (later_s < LATE_S[1])) * clear[:, None]
    lasting = (times_s[..., None] > start_s[:, None] - LATE_S[1]) & (times_s[..., None] < stop_s[:, None] + 0.1)
    late_db = late_energy_db(audio, sample_rate_hz, times_s)
    counts = clear * (1 - followed).prod(2) * (late_db.isfinite() & ~lasting.any(2))
    return (counts * late_db.nan_to_num()).sum(1) / counts.sum(1).clamp(min=1e-6), counts.sum(1)


class _Power:
    """Mean power of sounds between any times."""

    def __init__(self, audio: Tensor, sample_rate_hz: int) -> None:
        self.rate_hz = sample_rate_hz
        self.total = pad(audio.square().mean(1).double().cumsum(1), (1, 0))

    def mean(self, start_s: Tensor, stop_s: Tensor) -> Tensor:
        """Mean power ``(batch, n)`` between times ``(batch, n)``."""
        first, last = (
            (time_s * self.rate_hz).round().long().clamp(0, self.total.shape[1] - 1) for time_s in (start_s, stop_s)
        )
        return ((self.total.gather(1, last) - self.total.gather(1, first)) / (last - first).clamp(min=1)).float()


def _blocks(values: Tensor, block_s: float, sample_rate_hz: int) -> Tensor:
    """Consecutive blocks ``(batch, blocks, samples)``; a last incomplete one is left out."""
    values = pad(values, (0, max(0, 1 - values.shape[1])))
    length = min(max(1, round(block_s * sample_rate_hz)), values.shape[1])
    return values.unfold(1, length, length)
