"""Onset detection by multi-band spectral flux."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import avg_pool1d, max_pool1d, pad

from prismaudio.audio.resample import resample
from prismaudio.audio.spectral import decibels, low_quantile, mel_filterbank, power_spectrogram

RATE_HZ = 16_000
WINDOW, HOP = 256, 64
FRAME_S = HOP / RATE_HZ


@dataclass(frozen=True)
class OnsetSettings:
    """Parameters of the onset detector.

    Args:
        n_bands: Number of mel bands.
        range_db: Dynamic range below the loudest band of the clip; lower levels count as silence.
        before: Number of frames (4 ms) before an onset whose maximum it must exceed.
        after: Number of frames (4 ms) over which the level is averaged.
        min_rise_db: Rise of a band that is attributed to random fluctuation and subtracted.
        max_rise_db: Upper limit of the rise of a band.
        threshold: Minimum strength of an onset: rise in dB, averaged over the bands.
        relative: Minimum strength relative to that of the clip's strongest onset.
        min_distance_s: Minimum time between two onsets.
    """

    n_bands: int = 24
    range_db: float = 50.0
    before: int = 15
    after: int = 4
    min_rise_db: float = 3.0
    max_rise_db: float = 15.0
    threshold: float = 0.5
    relative: float = 0.04
    min_distance_s: float = 0.05


def onset_strength(audio: Tensor, settings: OnsetSettings = OnsetSettings()) -> Tensor:
    """Compute the onset strength per frame of 4 ms: the rise in dB, averaged over the bands.

    Args:
        audio: Audio ``(..., channels, samples)`` at 16 kHz.
        settings: Parameters of the detector.

    Returns:
        Strength ``(..., 1 + samples // 64)``.
    """
    power = power_spectrogram(audio, WINDOW, HOP).sum(-3)
    bands = mel_filterbank(settings.n_bands, WINDOW, RATE_HZ).to(audio) @ power
    shape = bands.shape
    bands = bands.reshape(-1, *shape[-2:])
    floor = bands.amax((1, 2), keepdim=True) * 10 ** (-settings.range_db / 10) + 1e-12
    noise = torch.maximum(floor, low_quantile(bands, 0.1))
    level = decibels(avg_pool1d(bands, settings.after, 1) + noise)
    level[..., :2] = level[..., 2:3]  # the first frames extend beyond the clip
    lead = settings.before + settings.after // 2
    begun = pad(level, (lead, 0), mode="replicate")
    earlier = max_pool1d(begun, settings.before, 1)[..., : level.shape[-1]]
    earlier = torch.maximum(earlier, decibels(noise))
    rise = (level - earlier - settings.min_rise_db).clamp(0, settings.max_rise_db)
    return pad(rise.mean(1), (0, shape[-1] - rise.shape[-1])).reshape(*shape[:-2], -1)


def onset_peaks(audio: Tensor, sample_rate_hz: int, settings: OnsetSettings = OnsetSettings()) -> tuple[Tensor, Tensor]:
    """Find all onset candidates of a batch, without device synchronisation.

    Args:
        audio: Audio ``(batch, channels, samples)``.
        sample_rate_hz: Their sample rate.
        settings: Parameters of the detector; its thresholds are not applied.

    Returns:
        Times in seconds and strengths ``(batch, peaks)`` of the local maxima within ``min_distance_s`` on either side,
        in order of time; unused entries come last, with strength 0.
    """
    audio = resample(audio.float(), sample_rate_hz, RATE_HZ)
    if audio.shape[-1] < 2 * WINDOW:
        return audio.new_zeros(len(audio), 1), audio.new_zeros(len(audio), 1)
    audible = audio.abs().amax((1, 2)) >= 1e-5
    strength = onset_strength(audio, settings) * audible[:, None]
    reach = round(settings.min_distance_s / FRAME_S)
    highest = max_pool1d(strength, 2 * reach + 1, 1, reach)
    is_peak = (strength == highest) & (strength > 0)
    before = max_pool1d(pad(is_peak.float(), (reach, 0)), reach, 1)[:, : is_peak.shape[1]]
    is_peak &= before == 0  # the first of equal maxima
    n_peaks = 1 + strength.shape[1] // (reach + 1)
    frames = torch.arange(strength.shape[1], device=audio.device)
    at = torch.where(is_peak, frames, len(frames)).sort(1).values[:, :n_peaks]
    strength = pad(strength, (0, 1)).gather(1, at)
    return _refined(audio, at.clamp(max=len(frames) - 1)), strength


def detect_onsets(audio: Tensor, sample_rate_hz: int, settings: OnsetSettings = OnsetSettings()) -> list[float]:
    """Detect onsets and return their times in seconds, ascending.

    The level of each band is compared with its maximum over the preceding 60 ms, so that neither the decay of a gong
    nor fluctuations of noise are detected; a simultaneous rise in several bands is an onset. Sounds that are present
    from the first frame on have no onset.

    Args:
        audio: Audio ``(2, samples)``.
        sample_rate_hz: Its sample rate.
        settings: Parameters of the detector.

    Example:
        >>> clicks = torch.zeros(2, 16000)
        >>> clicks[:, 4000] = clicks[:, 12000] = 0.5
        >>> [round(time_s, 2) for time_s in detect_onsets(clicks, 16000)]
        [0.25, 0.75]
    """
    times_s, strength = onset_peaks(audio[None], sample_rate_hz, settings)
    return times_s[strength >= min_strength(strength, settings)].tolist()


def min_strength(strength: Tensor, settings: OnsetSettings = OnsetSettings()) -> Tensor:
    """Compute the minimum strength ``(batch, 1)`` of an onset from the strengths of all peaks of a clip."""
    return (settings.relative * strength.amax(1, keepdim=True)).clamp(min=settings.threshold)


def _refined(audio: Tensor, peaks: Tensor) -> Tensor:
    """Refine peak frames to the times ``(batch, peaks)`` of the steepest rise of short-term energy, to 0.5 ms."""
    step, n, lead, n_steps = 8, 4, 20, 61
    energy = pad(audio.square().sum(1), (step * lead, step * (n_steps + 2 * n)))
    level = decibels(avg_pool1d(avg_pool1d(energy, step, step), n, 1) + 1e-9)
    rise = level[:, n:] - level[:, :-n]
    first = peaks * (HOP // step)
    near = first[..., None] + torch.arange(n_steps, device=audio.device)
    found = rise[:, None].expand(-1, peaks.shape[1], -1).gather(2, near.clamp(max=rise.shape[1] - 1)).argmax(2)
    return ((first + found + n - lead) * step / RATE_HZ).clamp(min=0)
