"""Synthesise the dry mono audio of one thing."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from prismaudio_footage.families import UNKNOWN
from prismaudio_studio.world.timbres import DRONES, IMPACTS, Drone, Impact

if TYPE_CHECKING:
    from prismaudio_studio.world.scene import Thing

Signal = NDArray[np.float32]


class Sounds(Protocol):
    """Recordings that things sound like, such as :class:`prismaudio_studio.world.bank.SoundBank`."""

    def one_shots(self, thing: Thing, rate_hz: int, *, held_out: bool) -> list[Signal] | None:
        """An event for each onset of a thing, with peak 1; None if it keeps its synthetic voice."""

    def texture(self, thing: Thing, n_samples: int, rate_hz: int, *, held_out: bool) -> Signal | None:
        """A lasting sound of a thing ``(n_samples,)`` with peak 1; None if it keeps its synthetic voice."""


_N_NOISES = 16
_PITCH_EXPONENT = 0.7
_MEDIUM_RADIUS = 0.12
_ATTACK_S, _RELEASE_S = 0.006, 0.05


@lru_cache(maxsize=512)
def _noise(bands: tuple[tuple[float, float, float], ...], n_samples: int, rate_hz: int, number: int) -> Signal:
    """Band-limited noise with soft band edges and a peak of about 1."""
    rng = np.random.default_rng(number)
    spectrum = np.fft.rfft(rng.standard_normal(n_samples))
    frequencies = np.fft.rfftfreq(n_samples, 1 / rate_hz)
    gain = np.zeros_like(frequencies)
    for low, high, level in bands:
        rise = 1 / (1 + (low / np.maximum(frequencies, 1.0)) ** 6)
        gain += level * rise / (1 + (frequencies / high) ** 8)
    noise = np.fft.irfft(spectrum * gain, n_samples)
    return (noise / (3.5 * noise.std())).astype(np.float32)


def _decaying(frequency_hz: float, t60_s: float, n_samples: int, rate_hz: int) -> Signal:
    """A decaying sine, computed in blocks as powers of one complex number."""
    block = 128
    rate = complex(-6.9078 / t60_s, 2 * np.pi * frequency_hz) / rate_hz
    within = np.exp(rate * np.arange(block)).astype(np.complex64)
    starts = np.exp(rate * block * np.arange(-(-n_samples // block))).astype(np.complex64)
    return (starts[:, None] * within).imag.reshape(-1)[:n_samples]


def _hit(impact: Impact, pitch: float, rate_hz: int, rng: np.random.Generator) -> Signal:
    """One impact with peak 1."""
    n_samples = int(max(impact.t60_s, impact.noise_t60_s) * 1.1 * rate_hz)
    audio = np.zeros(n_samples, np.float32)
    for ratio, gain in zip(impact.ratios, impact.gains, strict=True):
        frequency = impact.pitch_hz * pitch * ratio
        if frequency < 0.48 * rate_hz:
            t60_s = impact.t60_s / ratio**impact.damping
            audio += gain * rng.uniform(0.8, 1.2) * _decaying(frequency, t60_s, n_samples, rate_hz)
    n_burst = min(n_samples, int(1.1 * impact.noise_t60_s * rate_hz))
    low, high = impact.noise_hz
    noise = _noise(((low, high, 1.0),), rate_hz, rate_hz, int(rng.integers(_N_NOISES)))
    start = int(rng.integers(len(noise) - n_burst))
    decay = np.exp(np.float32(-6.9078 / (impact.noise_t60_s * rate_hz)) * np.arange(n_burst, dtype=np.float32))
    level = impact.noise * (2.0 if not impact.ratios else float(np.abs(audio).max()))
    audio[:n_burst] += level * 2 * decay * noise[start : start + n_burst]
    rise = max(1, int(0.0006 * rate_hz))
    audio[:rise] *= np.linspace(0, 1, rise, dtype=np.float32)
    fade = n_samples // 10
    audio[-fade:] *= np.linspace(1, 0, fade, dtype=np.float32)
    return audio / np.abs(audio).max()


def _drone(drone: Drone, pitch: float, n_samples: int, rate_hz: int, rng: np.random.Generator) -> Signal:
    """A sustained sound with peak 1."""
    audio = np.zeros(n_samples, np.float32)
    if drone.gains:
        time_s = np.arange(n_samples, dtype=np.float64) / rate_hz
        wobble = drone.vibrato * np.sin(2 * np.pi * 5.0 * time_s + rng.uniform(0, 6.28)) / (2 * np.pi * 5.0)
        base = np.exp(2j * np.pi * drone.pitch_hz * pitch * (time_s + wobble)).astype(np.complex64)
        phasor = np.ones(n_samples, np.complex64)
        for gain in drone.gains:
            phasor *= base
            audio += gain * (phasor * np.complex64(np.exp(1j * rng.uniform(0, 6.28)))).real
        audio /= np.abs(audio).max()
    if drone.noise:
        bands = tuple((low * pitch, high * pitch, gain) for low, high, gain in drone.bands)
        noise = _noise(bands, 4 * rate_hz, rate_hz, int(rng.integers(_N_NOISES)))
        audio += drone.noise * np.roll(noise, int(rng.integers(len(noise))))[:n_samples]
    return _faded(audio, rate_hz)


def _faded(audio: Signal, rate_hz: int) -> Signal:
    """Begin and end a sustained sound in place, and scale its peak to 1."""
    n_attack, n_release = int(_ATTACK_S * rate_hz), min(len(audio) // 2, int(_RELEASE_S * rate_hz))
    audio[:n_attack] *= np.linspace(0, 1, n_attack, dtype=np.float32)
    audio[-n_release:] *= np.linspace(1, 0, n_release, dtype=np.float32)
    return audio / np.abs(audio).max()


def pitch_of(thing: Thing, rng: np.random.Generator) -> float:
    """Frequency factor, lower for larger things; quantised, so that noises can be cached."""
    exact = (_MEDIUM_RADIUS / thing.radius) ** _PITCH_EXPONENT * rng.uniform(0.97, 1.03)
    return float(round(exact * 16) / 16)


def render_voice(
    thing: Thing, n_samples: int, rate_hz: int, bank: Sounds | None = None, *, held_out: bool = False
) -> Signal:
    """All sounds of a thing at their onsets and levels, ``(n_samples,)``.

    Args:
        thing: The thing.
        n_samples: Length of the result.
        rate_hz: Sample rate of the result.
        bank: Recordings that classes sound like; None, or a class without recordings, for synthesis.
        held_out: Whether to use the recordings that are held out.
    """
    rng = np.random.default_rng(thing.key)
    pitch = pitch_of(thing, rng)
    voice = np.zeros(n_samples, np.float32)
    drone = DRONES.get(thing.what, DRONES[UNKNOWN])
    impact = IMPACTS.get(thing.what, IMPACTS[UNKNOWN])
    if thing.end_s is not None and (thing.what in DRONES or not thing.is_synthetic):
        start, stop = round(thing.onsets_s[0] * rate_hz), min(n_samples, round(thing.end_s * rate_hz))
        recorded = None if bank is None else bank.texture(thing, stop - start, rate_hz, held_out=held_out)
        audio = _drone(drone, pitch, stop - start, rate_hz, rng) if recorded is None else _faded(recorded, rate_hz)
        voice[start:stop] = audio * np.float32(10 ** (thing.levels_db[0] / 20))
        return voice
    hits = None if bank is None else bank.one_shots(thing, rate_hz, held_out=held_out)
    if hits is None:
        hits = [_hit(impact, pitch, rate_hz, rng)] * len(thing.onsets_s)
    for onset_s, level_db, hit in zip(thing.onsets_s, thing.levels_db, hits, strict=True):
        start = round(onset_s * rate_hz)
        part = hit[: n_samples - start]
        voice[start : start + len(part)] += part * np.float32(10 ** (level_db / 20))
    return voice
