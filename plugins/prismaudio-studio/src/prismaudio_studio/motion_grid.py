"""A video encoder without weights: colour and motion on a coarse grid."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional as F

from prismaudio.checkpoints import Configured, within
from prismaudio.encoders.base import Encoder
from prismaudio.errors import MediaError

if TYPE_CHECKING:
    from prismaudio.plan import Plan
    from prismaudio.types import Clip


class MotionGridEncoder(Configured, Encoder):
    """Mean colour and mean change since the frame before, in each cell of a coarse grid.

    Args:
        cells: Cells along each side of the frame.
        rate_hz: Frames per second that it expects.
    """

    reads_plan = False

    def __init__(self, cells: int = 8, rate_hz: float = 16.0) -> None:
        within(1, 256, cells=cells)
        within(0.1, 1000, rate_hz=rate_hz)
        self.cells = cells
        self.rate_hz = rate_hz
        self.dim = 4 * cells * cells

    def encode(self, clip: Clip, plan: Plan) -> Tensor:
        """Features ``(frames, dim)`` of the clip."""
        if clip.frames is None:
            return torch.zeros(0, self.dim)
        if clip.fps != self.rate_hz:
            raise MediaError(
                f"clip {clip.id} has {clip.fps} frames a second, expected {self.rate_hz}; read it at that rate"
            )
        return self.encode_frames(clip.frames[None])[0]

    def encode_frames(self, frames: Tensor) -> Tensor:
        """Features ``(batch, time, dim)`` of frames uint8 ``(batch, time, 3, height, width)``."""
        frames = frames.flatten(0, 1).float() / 127.5 - 1
        change = torch.zeros_like(frames[:, :, :1], dtype=torch.float32)
        change[:, 1:] = (frames[:, 1:].float() - frames[:, :-1].float()).abs().mean(2, keepdim=True) / 32
        colour = F.adaptive_avg_pool2d(frames, self.cells)
        motion = F.adaptive_avg_pool2d(change.flatten(0, 1), self.cells)
        return torch.cat([colour, motion], 1).flatten(1).unflatten(0, frames.shape[:2])
