"""Render the audio of a scene: sources, panning, room and recording quality."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from prismaudio.plan.story import SIDE_DEG
from prismaudio_studio.world.voices import Signal, render_voice

if TYPE_CHECKING:
    from prismaudio_studio.world.scene import Scene, Thing
    from prismaudio_studio.world.voices import Sounds

Spectrum = NDArray[np.complex64]

MAX_ITD_S, MAX_ILD_DB = 0.0006, 9.0
PEAK = 0.9

_ROOMS = {"room": (0.35, 0.012, 0.3), "hall": (1.9, 0.02, 0.55)}
"""T60 in seconds, delay of the first reflection in seconds, gain of the reflections."""
_N_ROOMS = 8
_FLOOR_DB, _NOISY_DB = -72.0, -42.0
_DRIVE = 3.5


def placement(azimuth_deg: NDArray[np.float64] | float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Delay of the left channel in seconds, and level of the right channel over the left in dB.

    Args:
        azimuth_deg: Direction, positive to the right; the maximum differences are reached at 60 degrees.

    Example:
        >>> [round(float(x), 5) for x in placement(60.0)]
        [0.0006, 9.0]
    """
    side = np.sin(np.deg2rad(azimuth_deg)) / np.sin(np.deg2rad(SIDE_DEG))
    return MAX_ITD_S * side, MAX_ILD_DB * side


def _delayed(voice: Signal, delay: NDArray[np.float64]) -> Signal:
    """Delay a signal by ``delay`` samples, with four-point Lagrange interpolation."""
    n = len(voice)
    position = np.arange(n) - delay
    whole = np.floor(position).astype(np.intp)
    f = (position - whole).astype(np.float32)
    padded = np.pad(voice, 16)
    at = np.clip(whole + 16, 1, n + 28)
    before, here, after, beyond = (padded[at + step] for step in (-1, 0, 1, 2))
    g, h, k = f - 1, f - 2, f + 1
    return (-f * g * h * before / 6 + k * g * h * here / 2 - k * f * h * after / 2 + k * f * g * beyond / 6).astype(
        np.float32
    )


def panned(thing: Thing, voice: Signal, rate_hz: int) -> tuple[slice, Signal]:
    """Pan the part of a voice that is not silent to stereo ``(2, samples)``; returns its slice, too."""
    nonzero = np.flatnonzero(voice)
    if not len(nonzero):
        return slice(0, 0), np.zeros((2, 0), np.float32)
    part = slice(max(0, nonzero[0] - 16), min(len(voice), nonzero[-1] + 16))
    time_s = np.arange(part.start, part.stop) / rate_hz
    first, last = thing.span_s
    share = np.clip((time_s - first) / max(last - first, 1e-6), 0, 1)
    return part, placed(voice[part], SIDE_DEG * (thing.x[0] + share * (thing.x[1] - thing.x[0])), rate_hz)


def placed(voice: Signal, azimuth_deg: NDArray[np.float64] | float, rate_hz: int) -> Signal:
    """Stereo ``(2, samples)`` of a mono signal that comes from a direction, see :func:`placement`."""
    itd_s, ild_db = placement(azimuth_deg)
    shift = itd_s * rate_hz / 2
    channels = [_delayed(voice, sign * shift) * 10 ** (-sign * ild_db / 40) for sign in (1.0, -1.0)]
    return np.stack(channels).astype(np.float32)


def _fft_size(n_samples: int) -> int:
    return -(-(n_samples + n_samples // 2) // 2000) * 2000


@lru_cache(maxsize=32)
def _room_response(room: str, number: int, n_samples: int, rate_hz: int) -> Spectrum:
    """Spectrum ``(2, bins)`` of a diffuse tail, uncorrelated between the channels."""
    t60_s, delay_s, gain = _ROOMS[room]
    rng = np.random.default_rng([number, len(room)])
    size = _fft_size(n_samples)
    time_s = np.arange(min(size - n_samples, int(t60_s * rate_hz))) / rate_hz
    tail = rng.standard_normal((2, len(time_s))) * 10 ** (-3 * time_s / t60_s)
    tail *= np.clip((time_s - delay_s) / 0.02, 0, 1)
    spectrum = np.fft.rfft(tail, size)
    frequencies = np.fft.rfftfreq(size, 1 / rate_hz)
    spectrum /= (1 + (frequencies / 4500.0) ** 2) * np.sqrt((tail**2).sum(1).mean())
    return (gain * spectrum).astype(np.complex64)


@lru_cache(maxsize=4)
def _muffling(n_samples: int, rate_hz: int) -> NDArray[np.float32]:
    frequencies = np.fft.rfftfreq(_fft_size(n_samples), 1 / rate_hz)
    return (0.08 + 0.92 / (1 + (frequencies / 900.0) ** 3)).astype(np.float32)


@lru_cache(maxsize=4)
def _hiss(n_samples: int) -> NDArray[np.float32]:
    return np.random.default_rng(7).standard_normal((2, 3 * n_samples)).astype(np.float32)


def _through_room(scene: Scene, audio: Signal, mono: Signal, rate_hz: int) -> Signal:
    """Apply reverberation and muffling, both as products of spectra."""
    muffled = scene.quality == "muffled"
    if scene.room not in _ROOMS and not muffled:
        return audio
    n_samples = audio.shape[1]
    size = _fft_size(n_samples)
    if scene.room in _ROOMS:
        response = _room_response(scene.room, scene.key % _N_ROOMS, n_samples, rate_hz)
        spectrum = np.fft.rfft(mono, size) * response
        if not muffled:
            return audio + np.fft.irfft(spectrum, size)[:, :n_samples].astype(np.float32)
        spectrum += np.fft.rfft(audio, size)
    else:
        spectrum = np.fft.rfft(audio, size)
    return np.fft.irfft(spectrum * _muffling(n_samples, rate_hz), size)[:, :n_samples].astype(np.float32)


def _limited(scene: Scene, audio: Signal) -> Signal:
    """Apply clipping and noise, and limit the peak."""
    n_samples = audio.shape[1]
    if scene.quality == "clipped":
        envelope = np.abs(audio).max(0)
        ceiling = float(envelope.max()) / _DRIVE + 1e-9
        audio = audio * (np.float32(0.5) / np.maximum(envelope, ceiling))  # same gain for both channels keeps direction
    floor_db = _NOISY_DB if scene.quality == "noisy" else _FLOOR_DB
    start = scene.key % (2 * n_samples)
    audio = audio + np.float32(10 ** (floor_db / 20)) * _hiss(n_samples)[:, start : start + n_samples]
    top = float(np.abs(audio).max())
    return audio * np.float32(min(1.0, PEAK / top))


def render_audio(scene: Scene, sample_rate_hz: int = 16_000, bank: Sounds | None = None) -> Signal:
    """Render the audio of a scene.

    Args:
        scene: The scene.
        sample_rate_hz: Samples per second.
        bank: Recordings that things sound like where it has any of their class; a held-out scene uses those held out.

    Returns:
        Audio ``(2, samples)``, float32, with a peak of at most 0.9. For sources on the right, the right channel is
        earlier (by up to 0.6 ms) and louder (by up to 9 dB).
    """
    n_samples = round(scene.duration_s * sample_rate_hz)
    audio, mono = np.zeros((2, n_samples), np.float32), np.zeros(n_samples, np.float32)
    for thing in scene.things:
        voice = render_voice(thing, n_samples, sample_rate_hz, bank, held_out=scene.held_out)
        part, sound = panned(thing, voice, sample_rate_hz)
        audio[:, part] += sound
        mono += voice
    return recorded(scene, audio, mono, sample_rate_hz)


def recorded(scene: Scene, audio: Signal, mono: Signal, sample_rate_hz: int) -> Signal:
    """Dry audio ``(2, samples)`` in the room and the recording quality of a scene.

    Args:
        scene: The scene; its things are not used.
        audio: The direct sound.
        mono: The sum of the sources, which excites the room ``(samples,)``.
        sample_rate_hz: Samples per second.
    """
    return _limited(scene, _through_room(scene, audio, mono, sample_rate_hz))
