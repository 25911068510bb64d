"""From the frames of a clip to what VideoPrism was trained on: four a second, square, 288 pixels."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

FPS = 4.0


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
