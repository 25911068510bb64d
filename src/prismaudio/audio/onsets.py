"""When something begins to sound: onsets from multi-band spectral flux."""

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
    """What counts as an onset.

    Args:
        n_bands: Number of mel bands.
        range_db: What is further below the loudest band of the clip is silence.
        before: Frames of 4 ms before an onset that it must rise above.
        after: Frames of 4 ms that the rise is averaged over.
        least_rise_db: Rise of a band that is put down to chance.
        most_rise_db: Rise beyond which a band counts no more.
        threshold: Least strength of an onset: mean over the bands of the rise, in dB.
        relative: Least strength relative to the strength of the clip's typical strong onset.
        apart_s: Least time between two onsets.
    """

    n_bands: int = 24
    range_db: float = 50.0
    before: int = 15
    after: int = 4
    least_rise_db: float = 3.0
    most_rise_db: float = 15.0
    threshold: float = 0.5
    relative: float = 0.04
    apart_s: float = 0.05


def onset_strength(audio: Tensor, settings: OnsetSettings = OnsetSettings()) -> Tensor:
    """How strongly something begins at each frame of 4 ms: mean over the bands of the rise in dB.

    Args:
        audio: Audio ``(..., channels, samples)`` at 16 kHz.
        settings: What counts as an onset.

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
    level[..., :2] = level[..., 2:3]  # the first frames reach out of the clip
    lead = settings.before + settings.after // 2
    begun = pad(level, (lead, 0), mode="replicate")
    earlier = max_pool1d(begun, settings.before, 1)[..., : level.shape[-1]]
    earlier = torch.maximum(earlier, decibels(noise))
    rise = (level - earlier - settings.least_rise_db).clamp(0, settings.most_rise_db)
    return pad(rise.mean(1), (0, shape[-1] - rise.shape[-1])).reshape(*shape[:-2], -1)


def onset_peaks(audio: Tensor, sample_rate_hz: int, settings: OnsetSettings = OnsetSettings()) -> tuple[Tensor, Tensor]:
    """Everything that might be an onset, in sounds that are looked at together and without waiting for a device.

    Args:
        audio: Audio ``(batch, channels, samples)``.
        sample_rate_hz: Their sample rate.
        settings: What counts as an onset; its thresholds are not applied here.

    Returns:
        Times in seconds and strengths ``(batch, peaks)`` of the highest points within ``apart_s`` on either side, in
        order of time; peaks that a sound does not have come last, with strength 0.
    """
    sound = resample(audio.float(), sample_rate_hz, RATE_HZ)
    if sound.shape[-1] < 2 * WINDOW:
        return sound.new_zeros(len(sound), 1), sound.new_zeros(len(sound), 1)
    audible = sound.abs().amax((1, 2)) >= 1e-5
    strength = onset_strength(sound, settings) * audible[:, None]
    reach = round(settings.apart_s / FRAME_S)
    highest = max_pool1d(strength, 2 * reach + 1, 1, reach)
    is_peak = (strength == highest) & (strength > 0)
    before = max_pool1d(pad(is_peak.float(), (reach, 0)), reach, 1)[:, : is_peak.shape[1]]
    is_peak &= before == 0  # of equals, the first
    n_peaks = 1 + strength.shape[1] // (reach + 1)
    frames = torch.arange(strength.shape[1], device=sound.device)
    at = torch.where(is_peak, frames, len(frames)).sort(1).values[:, :n_peaks]
    strength = pad(strength, (0, 1)).gather(1, at)
    return _refined(sound, at.clamp(max=len(frames) - 1)), strength


def detect_onsets(audio: Tensor, sample_rate_hz: int, settings: OnsetSettings = OnsetSettings()) -> list[float]:
    """Times in seconds at which something begins to sound, ascending.

    Each band's level is compared with the highest level that it had in the 60 ms before, so that neither the ringing
    of a gong nor the flutter of noise counts; what rises in several bands at once is an onset. What sounds from the
    first moment on has begun before the clip and is none.

    Args:
        audio: Audio ``(2, samples)``.
        sample_rate_hz: Its sample rate.
        settings: What counts as an onset.

    Example:
        >>> clicks = torch.zeros(2, 16000)
        >>> clicks[:, 4000] = clicks[:, 12000] = 0.5
        >>> [round(time_s, 2) for time_s in detect_onsets(clicks, 16000)]
        [0.25, 0.75]
    """
    times_s, strength = onset_peaks(audio[None], sample_rate_hz, settings)
    return times_s[strength >= min_strength(strength, settings)].tolist()


def min_strength(strength: Tensor, settings: OnsetSettings = OnsetSettings()) -> Tensor:
    """What a peak of a sound must have to be an onset ``(batch, 1)``, by the strengths of all its peaks."""
    return (settings.relative * strength.amax(1, keepdim=True)).clamp(min=settings.threshold)


def _refined(sound: Tensor, peaks: Tensor) -> Tensor:
    """The times ``(batch, peaks)`` near frames at which the short-term energy rises most, to 0.5 ms."""
    step, n, lead, n_steps = 8, 4, 20, 61
    energy = pad(sound.square().sum(1), (step * lead, step * (n_steps + 2 * n)))
    level = decibels(avg_pool1d(avg_pool1d(energy, step, step), n, 1) + 1e-9)
    rise = level[:, n:] - level[:, :-n]
    first = peaks * (HOP // step)
    near = first[..., None] + torch.arange(n_steps, device=sound.device)
    found = rise[:, None].expand(-1, peaks.shape[1], -1).gather(2, near.clamp(max=rise.shape[1] - 1)).argmax(2)
    return ((first + found + n - lead) * step / RATE_HZ).clamp(min=0)
