"""When something begins to sound: onsets from multi-band spectral flux."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import avg_pool1d, max_pool1d, pad

from prismaudio.signal.resample import resample
from prismaudio.signal.spectral import decibels, mel_filterbank, power_spectrogram

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
        audio: Sound ``(channels, samples)`` at 16 kHz.
        settings: What counts as an onset.

    Returns:
        Strength ``(1 + samples // 64,)``.
    """
    power = power_spectrogram(audio, WINDOW, HOP).sum(0)
    bands = mel_filterbank(settings.n_bands, WINDOW, RATE_HZ).to(audio) @ power
    floor = bands.amax() * 10 ** (-settings.range_db / 10) + 1e-12
    noise = bands.quantile(0.1, dim=1, keepdim=True)
    smooth = avg_pool1d(bands[None], settings.after, 1)[0]
    level = decibels(smooth + torch.maximum(floor, noise))
    level[:, :2] = level[:, 2:3]  # the first frames reach out of the clip
    lead = settings.before + settings.after // 2
    begun = pad(level[None], (lead, 0), mode="replicate")
    earlier = max_pool1d(begun, settings.before, 1)[0][:, : level.shape[1]]
    earlier = torch.maximum(earlier, decibels(torch.maximum(floor, noise)))
    rise = (level - earlier - settings.least_rise_db).clamp(0, settings.most_rise_db)
    return pad(rise.mean(0), (0, bands.shape[1] - rise.shape[1]))


def detect_onsets(audio: Tensor, sample_rate_hz: int, settings: OnsetSettings = OnsetSettings()) -> list[float]:
    """Times in seconds at which something begins to sound, ascending.

    Each band's level is compared with the highest level that it had in the 60 ms before, so that neither the ringing
    of a bell nor the flutter of noise counts; what rises in several bands at once is an onset. What sounds from the
    first moment on has begun before the clip and is none.

    Args:
        audio: Sound ``(2, samples)``.
        sample_rate_hz: Its sample rate.
        settings: What counts as an onset.

    Example:
        >>> clicks = torch.zeros(2, 16000)
        >>> clicks[:, 4000] = clicks[:, 12000] = 0.5
        >>> [round(time_s, 2) for time_s in detect_onsets(clicks, 16000)]
        [0.25, 0.75]
    """
    sound = resample(audio.float(), sample_rate_hz, RATE_HZ)
    if sound.shape[-1] < 2 * WINDOW or float(sound.abs().amax()) < 1e-5:
        return []
    strength = onset_strength(sound, settings)
    reach = round(settings.apart_s / FRAME_S)
    highest = max_pool1d(strength[None], 2 * reach + 1, 1, reach)[0]
    typical = float(highest.amax())
    least = max(settings.threshold, settings.relative * typical)
    peaks = ((strength == highest) & (strength >= least)).nonzero().flatten().tolist()
    kept: list[int] = []
    for peak in peaks:
        if not kept or peak - kept[-1] > reach:
            kept.append(peak)
    return [_refine(sound, peak) for peak in kept]


def _refine(sound: Tensor, peak: int) -> float:
    """The time near a frame at which the short-term energy rises most, to 0.5 ms."""
    step, n_steps = 8, 60
    start = peak * HOP - 160
    piece = sound[..., max(0, start) : start + (n_steps + 8) * step].square().sum(0)
    piece = pad(piece, (max(0, -start), 0))
    blocks = avg_pool1d(piece[None], step, step)[0]
    n = 4
    if len(blocks) < 2 * n + 1:
        return max(0.0, peak * FRAME_S)
    after = decibels(avg_pool1d(blocks[None], n, 1)[0][n:] + 1e-9)
    before = decibels(avg_pool1d(blocks[None], n, 1)[0][:-n] + 1e-9)
    rise = after - before
    return max(0.0, (start + (int(rise.argmax()) + n) * step) / RATE_HZ)
