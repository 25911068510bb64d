"""When something happens in frames: sudden changes from one to the next."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d, max_pool1d, pad

FRAME_SIZE = 24
"""Frames are compared on a grid about this high: finer detail is noise."""
BEFORE_S = 0.4
RELATIVE = 0.3
"""A change counts half that exceeds those before it by the typical change, or by this share of the largest excess."""


def change_peaks(frames: Tensor, fps: float) -> tuple[Tensor, Tensor]:
    """Moments at which the frame changes more suddenly than in the 0.4 s before.

    Args:
        frames: Frames uint8 ``(time, 3, height, width)``.
        fps: Frames per second.

    Returns:
        Times in seconds of the first frame that shows a change, and how much it counts, 0 .. 1, ``(peaks,)``.

    Example:
        >>> frames = torch.zeros(16, 3, 24, 24, dtype=torch.uint8)
        >>> frames[8:] = 255
        >>> [round(float(x[0]), 2) for x in change_peaks(frames, 16.0)]
        [0.5, 0.92]
    """
    if len(frames) < 2:
        return torch.zeros(0), torch.zeros(0)
    step = max(1, frames.shape[-2] // FRAME_SIZE)
    small = avg_pool2d(frames.float().mean(1, keepdim=True) / 255, step, ceil_mode=True)
    change = small.diff(dim=0).abs().flatten(1)
    change = change.topk(max(1, change.shape[1] // 16), 1).values.mean(1)  # where most changes
    n_before = max(1, round(BEFORE_S * fps))
    earlier = max_pool1d(pad(change[None], (n_before, 0), mode="replicate"), n_before, 1)[0, : len(change)]
    rise = (change - earlier).clamp(min=0)
    peak = (rise > 0) & (rise == max_pool1d(rise[None], 3, 1, 1)[0])
    clear = (rise / torch.maximum(change.median() + 1e-3, RELATIVE * rise.amax())).square()
    times_s = (torch.arange(len(change)) + 1) / fps
    return times_s[peak], (clear / (1 + clear))[peak]
