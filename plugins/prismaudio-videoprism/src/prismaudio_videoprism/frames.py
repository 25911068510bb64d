"""From the frames of a clip to what VideoPrism was trained on: four a second, square, 288 pixels."""

from __future__ import annotations

from torch import Tensor, arange
from torch.nn import functional as F

FPS = 4.0


def at_4_fps(frames: Tensor, fps: float, duration_s: float) -> Tensor:
    """``int(4 * duration_s)`` frames, at least 1: each moment gets the nearest one, and the last one is repeated.

    Args:
        frames: Frames ``(time, ...)``.
        fps: Frames per second.
        duration_s: Duration of the clip in seconds.

    Example:
        >>> at_4_fps(arange(24), 8.0, 3.0).tolist()
        [0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22]
    """
    times_s = arange(max(1, int(FPS * duration_s + 1e-6)), device=frames.device) / FPS
    return frames[(times_s * fps + 0.5).long().clamp(max=len(frames) - 1)]


def squared(frames: Tensor, size: int) -> Tensor:
    """Frames float in 0 .. 1 ``(time, 3, size, size)``, padded with black to squares and resized.

    Args:
        frames: Frames uint8 ``(time, 3, height, width)``.
        size: Height and width of the result.

    Source:
        The published preprocessing: padding around the centre, bilinear without antialiasing on bytes, then / 255.
    """
    height, width = frames.shape[-2:]
    side = max(height, width)
    left, top = (side - width) // 2, (side - height) // 2
    padded = F.pad(frames.cpu(), (left, side - width - left, top, side - height - top))
    if side != size:
        padded = F.interpolate(padded, (size, size), mode="bilinear", align_corners=False)
    return padded.float() / 255
