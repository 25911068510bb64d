"""Constructed sounds that a reward can be fooled with: what a policy may find when it follows a reward too far."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from prismaudio.audio.loudness import loudness_lufs
from prismaudio_studio.world.audio import panned
from prismaudio_studio.world.voices import render_voice

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from prismaudio_studio.world.scene import Scene

CLICK = 0.9
"""Height of a click of one sample, of full scale 1."""
NOISE_DB = -20.0
"""Level of white noise."""
BURSTS_S = (0.5, 1.5, 2.5, 3.5)
BURST_S, TAIL_DB, TAIL_T60_S = 0.1, -10.0, 1.9
"""Length of a burst of noise, and level and decay of what follows it in a hall."""
MUFFLED_HZ = 800.0
HISS_DB = -42.0
LOUDNESS_LUFS = -23.0
"""Loudness of the bursts; the target of the plugin ``prismaudio-loudness`` where a plan states none."""
Sounds = Mapping[str, Callable[[], Tensor]]
"""Makes each cheat of a clip by its name: audio ``(2, samples)``."""


def sound_cheats(audio: Tensor, rate_hz: int, onsets_s: Sequence[float]) -> Sounds:
    """The cheats that need no more than the true sound of a clip.

    ``silence``; ``noise``, white and different in both channels; ``clicks_at_onsets``, one loud sample in both channels
    at each onset.

    Args:
        audio: The true sound ``(2, samples)``.
        rate_hz: Its sample rate.
        onsets_s: Its onsets.

    Example:
        >>> sounds = sound_cheats(torch.ones(2, 16_000), 16_000, [0.25])
        >>> sounds["clicks_at_onsets"]().nonzero().tolist()
        [[0, 4000], [1, 4000]]
    """
    n_samples = audio.shape[-1]
    return {
        "silence": partial(torch.zeros, 2, n_samples),
        "noise": lambda: torch.as_tensor(_noise(2, n_samples)),
        "clicks_at_onsets": lambda: torch.as_tensor(_clicks(onsets_s, n_samples, rate_hz)).repeat(2, 1),
    }


def scene_cheats(scene: Scene, audio: Tensor, rate_hz: int) -> Sounds:
    """The cheats of a scene: those of :func:`sound_cheats`, and those that need its plan.

    ``noise_with_delay``: white noise from the direction of the thing that sounded last; ``clicks_with_delay``: a click
    at each onset, from the direction of its thing; ``looped_class``: one second with a sound of each thing, from the
    middle, again and again; ``planned_quality``: bursts of noise at fixed times, at -23 LUFS, with the hiss, the
    clipping, the highs and the room that the plan states, whatever else it says.

    Args:
        scene: The scene.
        audio: Its true sound ``(2, samples)``.
        rate_hz: Sample rate of all sounds.
    """
    n_samples = audio.shape[-1]
    return {
        **sound_cheats(audio, rate_hz, [event.time_s for event in scene.events]),
        "noise_with_delay": lambda: _placed(scene, _noise_by_thing(scene, n_samples, rate_hz), rate_hz),
        "clicks_with_delay": lambda: _placed(
            scene, [_clicks(thing.onsets_s, n_samples, rate_hz) for thing in scene.things], rate_hz
        ),
        "looped_class": lambda: _looped(scene, n_samples, rate_hz),
        "planned_quality": lambda: _bursts(scene, n_samples, rate_hz),
    }


def _noise(n_channels: int, n_samples: int) -> NDArray[np.float32]:
    noise = np.random.default_rng(0).standard_normal((n_channels, n_samples))
    return (10 ** (NOISE_DB / 20) * noise).astype(np.float32)


def _clicks(onsets_s: Sequence[float], n_samples: int, rate_hz: int) -> NDArray[np.float32]:
    clicks = np.zeros(n_samples, np.float32)
    at = np.array([round(onset_s * rate_hz) for onset_s in onsets_s], int)
    clicks[at[at < n_samples]] = CLICK
    return clicks


def _noise_by_thing(scene: Scene, n_samples: int, rate_hz: int) -> list[NDArray[np.float32]]:
    """One noise, cut at the onsets, each part to the thing that begins there; what comes first, to the first thing."""
    noise = _noise(1, n_samples)[0]
    onsets = sorted((onset_s, k) for k, thing in enumerate(scene.things) for onset_s in thing.onsets_s)
    last = np.searchsorted([onset_s for onset_s, _ in onsets], np.arange(n_samples) / rate_hz, side="right") - 1
    owner = np.array([k for _, k in onsets])[last.clip(min=0)]
    return [np.where(owner == k, noise, np.float32(0)) for k in range(len(scene.things))]


def _placed(scene: Scene, voices: Sequence[NDArray[np.float32]], rate_hz: int) -> Tensor:
    """The sum of voices ``(samples,)``, each from the direction of its thing."""
    audio = np.zeros((2, len(voices[0])), np.float32)
    for thing, voice in zip(scene.things, voices, strict=True):
        part, sound = panned(thing, voice, rate_hz)
        audio[:, part] += sound
    return torch.as_tensor(audio)


def _looped(scene: Scene, n_samples: int, rate_hz: int) -> Tensor:
    second = np.zeros(rate_hz, np.float32)
    for k, thing in enumerate(scene.things):
        end_s = None if thing.end_s is None else 1.0
        once = replace(thing, onsets_s=(k / len(scene.things),), levels_db=(-6.0,), end_s=end_s)
        second += render_voice(once, rate_hz, rate_hz)
    times = -(-n_samples // rate_hz)
    return torch.as_tensor(np.tile(second, (2, times))[:, :n_samples].copy())


def _bursts(scene: Scene, n_samples: int, rate_hz: int) -> Tensor:
    time_s = np.arange(n_samples) / rate_hz
    gain = np.zeros(n_samples)
    for begin_s in BURSTS_S:
        after_s = time_s - begin_s - BURST_S
        tail = 10 ** ((TAIL_DB - 60 * after_s / TAIL_T60_S) / 20) if scene.room == "hall" else 0 * time_s
        gain = np.where(after_s >= 0, np.maximum(tail, gain), np.where(after_s >= -BURST_S, 1.0, gain))
    burst = _noise(1, n_samples)[0]
    if scene.quality == "muffled":
        spectrum = np.fft.rfft(burst)
        burst = np.fft.irfft(spectrum * (np.fft.rfftfreq(n_samples, 1 / rate_hz) < MUFFLED_HZ), n_samples)
    if scene.quality == "clipped":
        burst = burst.clip(-0.3 * burst.std(), 0.3 * burst.std())
    audio = torch.as_tensor(gain * burst).float().repeat(2, 1)
    audio *= 10 ** ((LOUDNESS_LUFS - float(loudness_lufs(audio[None], rate_hz))) / 20)
    hiss = 10 ** ((HISS_DB - NOISE_DB) / 20) * torch.as_tensor(_noise(2, n_samples))
    return audio + hiss if scene.quality == "noisy" else audio
