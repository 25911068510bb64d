"""Something to try a component on: a clip, its plan, and sounds to score, made without any file."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import lru_cache
from typing import TYPE_CHECKING, get_args

import torch
from torch import Tensor

from prismaudio.audio.resample import resample
from prismaudio.plan import Plan
from prismaudio.registry import discover
from prismaudio.types import Clip, Need

if TYPE_CHECKING:
    from collections.abc import Mapping

BANDWIDTH_HZ = 16_000
"""Sample rate at which the sounds are made; at a higher one they have nothing new to hear."""
PASS_BAND = 0.85
STRIKES_S = (0.5, 1.3)
NEEDS: tuple[Need, ...] = get_args(Need)

PLAN = {
    "semantic": "A large gong rings with a long metallic tone.",
    "temporal": "The gong rings twice, at 0.50 s and at 1.30 s.",
    "aesthetic": "A clean recording, dry acoustics.",
    "spatial": "The gong is on the left (azimuth -40°).",
}


def example_plan(sections: Mapping[str, str] | None = None) -> Plan:
    """A plan with a section of every dimension that is installed, as far as that has one by default.

    Args:
        sections: Sections to put in, in place of those or beside them.
    """
    extra = {dimension.name: dimension.default_section for dimension in discover().dimensions()}
    texts = {name: text for name, text in {**extra, **PLAN, **(sections or {})}.items() if text}
    return Plan({name: texts[name] for name in (*PLAN, *(name for name in texts if name not in PLAN))})


def example_clip(duration_s: float = 6.0, side: int = 64, fps: float = 25.0, sample_rate_hz: int = 16_000) -> Clip:
    """A clip in which something jumps where a gong is struck, with the sound of that.

    Args:
        duration_s: Duration in seconds.
        side: Height and width of its frames.
        fps: Frames per second.
        sample_rate_hz: Sample rate of its sound.
    """
    n_frames = round(duration_s * fps)
    frames = torch.full((n_frames, 3, side, side), 40, dtype=torch.uint8)
    for index in range(n_frames):
        since_s = [index / fps - strike for strike in STRIKES_S if 0 <= index / fps - strike < 0.3]
        top = round(0.5 * side - (0.3 * side * math.sin(math.pi * since_s[0] / 0.3) if since_s else 0))
        frames[index, :, top : top + side // 4, side // 8 : side // 8 + side // 4] = 220
    sound = example_audio(duration_s, sample_rate_hz)[0]
    return Clip("example", duration_s, frames, fps, sound, sample_rate_hz)


def example_audio(duration_s: float = 2.0, sample_rate_hz: int = 16_000) -> Tensor:
    """Audio ``(3, 2, samples)`` to score: a gong on the left, noise on the right, and silence.

    Args:
        duration_s: Their duration in seconds.
        sample_rate_hz: Their sample rate; what is heard does not depend on it, from 16 kHz on.
    """
    n_samples = round(duration_s * BANDWIDTH_HZ)
    times = torch.arange(n_samples, dtype=torch.float64) / BANDWIDTH_HZ
    gong = torch.zeros_like(times)
    for strike in STRIKES_S:
        since_s = times - strike * min(1.0, duration_s / 2)
        partials = [torch.sin(2 * math.pi * 440 * ratio * since_s) / ratio for ratio in (1, 2.76, 5.4)]
        gong += torch.where(since_s >= 0, torch.stack(partials).sum(0) * (-5 * since_s).exp(), 0.0)
    noise = torch.randn(n_samples, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    spectrum = torch.fft.rfft(noise)
    spectrum[round(len(spectrum) * PASS_BAND) :] = 0  # what resampling would take away
    noise = torch.fft.irfft(spectrum, n_samples)
    late = torch.nn.functional.pad(gong, (5, 0))[:n_samples]
    gong_on_the_left = torch.stack([0.3 * gong, 0.15 * late]) + 1e-3 * torch.stack([noise, noise.flip(0)])
    noise_on_the_right = torch.stack([0.02 * noise.flip(0), 0.1 * noise])
    made = torch.stack([gong_on_the_left, noise_on_the_right, torch.zeros(2, n_samples, dtype=torch.float64)])
    return resample(made.float(), BANDWIDTH_HZ, sample_rate_hz).clamp(-1, 1)


@lru_cache(maxsize=1)
def example_cases(duration_s: float = 2.0, sample_rate_hz: int = 16_000) -> list[tuple[Clip, Plan, Tensor]]:
    """Four clips with their plans and a sound for each, which differ in all that our own metrics measure."""
    gong = example_audio(2.5, sample_rate_hz)[0]
    noise = 0.01 * torch.randn(gong.shape, generator=torch.Generator().manual_seed(1))
    fading = torch.linspace(0, -12, sample_rate_hz).exp() * torch.randn(sample_rate_hz, generator=torch.Generator())
    spectra = [torch.fft.rfft(wave, gong.shape[-1] + sample_rate_hz) for wave in (gong, 0.05 * fading)]
    hall = gong + torch.fft.irfft(spectra[0] * spectra[1])[:, : gong.shape[-1]]
    versions = (
        (gong, "on the left (azimuth -40°)", "A clean recording, dry acoustics."),
        (gong.flip(0) + noise, "on the right (azimuth +40°)", "A noisy recording, dry acoustics."),
        (hall, "on the left (azimuth -30°)", "A clean recording, hall acoustics."),
        (gong.flip(0), "on the right (azimuth +30°)", "A clean recording, dry acoustics."),
    )
    cases = []
    for level, (sound, place, recording) in zip((0.9, 0.7, 0.5, 0.3), versions, strict=True):
        clip = replace(example_clip(2.5), audio=sound, sample_rate_hz=sample_rate_hz)
        plan = example_plan({"aesthetic": recording, "spatial": f"The gong is {place}."})
        cases.append((clip, plan, level * sound[:, : round(duration_s * sample_rate_hz)]))
    return cases


def without(clip: Clip, plan: Plan, need: Need) -> tuple[Clip, Plan]:
    """A clip and its plan that lack something."""
    if need == "video":
        return replace(clip, frames=None, fps=None), plan
    if need == "reference":
        return replace(clip, audio=None, sample_rate_hz=None), plan
    return clip, Plan({})
