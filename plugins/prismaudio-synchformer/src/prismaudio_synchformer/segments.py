"""What the network sees and hears at once: segments of 16 frames, and windows of 14 segments."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

FPS, RATE_HZ = 25.0, 16_000
LENGTH, STEP, WINDOW = 16, 8, 14
"""Frames of a segment, frames from one to the next, and segments of a window."""
SAMPLES, HOP = 10_240, 5_120
"""Samples of a segment, and from one to the next."""
SIZE = 224
SHORTEST = LENGTH + (WINDOW - 1) * STEP
"""Frames of a window: 120, which last 4.8 s."""


def n_segments(n_frames: int) -> int:
    """Number of whole segments in some frames.

    Example:
        >>> [n_segments(round(25 * duration_s)) for duration_s in (5, 8, 9, 10)]
        [14, 24, 27, 30]
    """
    return max(0, (n_frames - LENGTH) // STEP + 1)


def at_25_fps(frames: Tensor, fps: float) -> Tensor:
    """Frames ``(time, ...)`` at 25 a second: each moment gets the one that is nearest.

    Example:
        >>> at_25_fps(torch.arange(100), 50.0)[:4].tolist()
        [0, 2, 4, 6]
    """
    if fps == FPS:
        return frames
    times = torch.arange(int(len(frames) * FPS / fps + 1e-6), device=frames.device) / FPS
    return frames[(times * fps + 0.5).long().clamp(max=len(frames) - 1)]


def square(frames: Tensor, side: int = SIZE) -> Tensor:
    """The middle of frames uint8 ``(time, 3, height, width)`` as ``(time, 3, 224, 224)``.

    Args:
        frames: The frames.
        side: Length in pixels of the shorter side to which they are brought before.

    Source:
        Torchvision's ``Resize`` (bicubic, antialiased, in bytes) and ``CenterCrop``.
    """
    height, width = frames.shape[-2:]
    shorter = min(height, width)
    if shorter != side:
        size = [side * length // shorter for length in (height, width)]
        frames = F.interpolate(frames.cpu(), size, mode="bicubic", antialias=True)
        height, width = size
    top, left = middle(height), middle(width)
    return frames[..., top : top + SIZE, left : left + SIZE]


def middle(length: int) -> int:
    """Where 224 pixels in the middle of more begin; a half goes to the even neighbour.

    Example:
        >>> middle(341), middle(343), middle(224)
        (58, 60, 0)
    """
    return round((length - SIZE) / 2)


def cut_frames(frames: Tensor) -> Tensor:
    """Segments ``(segments, 16, ...)`` of frames ``(time, ...)``."""
    return frames.unfold(0, LENGTH, STEP).movedim(-1, 1)


def cut_audio(audio: Tensor, segments: int, first: int = 0) -> Tensor:
    """Segments ``(..., segments, 10240)`` of audio ``(..., samples)`` at 16 kHz; beyond its end it is silent.

    Args:
        audio: The sound.
        segments: How many.
        first: Sample at which they begin.
    """
    end = first + SAMPLES + (segments - 1) * HOP
    padded = F.pad(audio[..., first:end], (0, max(0, end - max(first, audio.shape[-1]))))
    return padded.unfold(-1, SAMPLES, HOP)
