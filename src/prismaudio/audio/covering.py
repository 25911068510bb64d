"""Sounds of any length: windows over a long one, a short one again and again, and parts."""

from __future__ import annotations

import math

from torch import Tensor

from prismaudio.errors import PrismAudioError


def cover(length: int, window: int) -> list[int]:
    """Where the fewest windows begin that cover a length, evenly spaced, the last aligned to the end.

    Args:
        length: What to cover, in samples or frames.
        window: Length of a window in the same unit; a shorter sound has one, which ends beyond it.

    Example:
        >>> cover(1241, 689), cover(689, 689), cover(5, 689)
        ([0, 552], [0], [0])
    """
    n_windows = max(1, math.ceil(length / window))
    beyond = max(0, length - window)
    return [round(i * beyond / max(1, n_windows - 1)) for i in range(n_windows)]


def cut(audio: Tensor, sample_rate_hz: int, start_s: float, duration_s: float) -> Tensor:
    """The part ``(..., samples)`` of a waveform that begins at ``start_s``, as far as there is any."""
    start = max(0, round(start_s * sample_rate_hz))
    stop = max(start, round((start_s + duration_s) * sample_rate_hz))
    return audio[..., start:stop]


def repeated(sound: Tensor, n_samples: int) -> Tensor:
    """Audio ``(..., samples)``, again and again until there are so many samples, if there are fewer.

    Raises:
        PrismAudioError: There is no sample to repeat.

    Example:
        >>> import torch
        >>> repeated(torch.arange(3), 7)
        tensor([0, 1, 2, 0, 1, 2, 0])
    """
    there = sound.shape[-1]
    if there == 0:
        raise PrismAudioError("a sound has no samples; give one with at least one sample")
    if there >= n_samples:
        return sound
    return sound.repeat(*[1] * (sound.ndim - 1), math.ceil(n_samples / there))[..., :n_samples]
