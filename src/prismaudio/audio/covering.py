"""Fitting audio of any length to a fixed length: overlapping segments, repetition and cropping."""

from __future__ import annotations

import math

from torch import Tensor

from prismaudio.errors import PrismAudioError


def cover(length: int, window: int) -> list[int]:
    """Return the start positions of the fewest segments that cover a length, evenly spaced, the last one end-aligned.

    Args:
        length: Length to cover, in samples or frames.
        window: Length of a segment in the same unit; shorter audio gets one segment, which extends beyond its end.

    Example:
        >>> cover(1241, 689), cover(689, 689), cover(5, 689)
        ([0, 552], [0], [0])
    """
    n_segments = max(1, math.ceil(length / window))
    beyond = max(0, length - window)
    return [round(i * beyond / max(1, n_segments - 1)) for i in range(n_segments)]


def cut(audio: Tensor, sample_rate_hz: int, start_s: float, duration_s: float) -> Tensor:
    """Crop audio ``(..., samples)`` to ``duration_s`` from ``start_s``; less where the audio ends earlier."""
    start = max(0, round(start_s * sample_rate_hz))
    stop = max(start, round((start_s + duration_s) * sample_rate_hz))
    return audio[..., start:stop]


def repeated(audio: Tensor, n_samples: int) -> Tensor:
    """Repeat audio ``(..., samples)`` to ``n_samples``; audio that is at least as long is returned unchanged.

    Raises:
        PrismAudioError: The audio is empty.

    Example:
        >>> import torch
        >>> repeated(torch.arange(3), 7)
        tensor([0, 1, 2, 0, 1, 2, 0])
    """
    length = audio.shape[-1]
    if length == 0:
        raise PrismAudioError("cannot repeat audio of 0 samples; expected at least one sample")
    if length >= n_samples:
        return audio
    return audio.repeat(*[1] * (audio.ndim - 1), math.ceil(n_samples / length))[..., :n_samples]
