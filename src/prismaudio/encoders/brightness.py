"""A video encoder without weights: how bright it is where."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional as F

from prismaudio.checkpoints import Configured, within
from prismaudio.encoders.base import Encoder
from prismaudio.errors import MediaError
from prismaudio.types import FrameSpec

if TYPE_CHECKING:
    from prismaudio.plan import Plan
    from prismaudio.types import Clip


class BrightnessEncoder(Configured, Encoder):
    """Mean brightness of each column of the frames: enough to try a recipe on, and to see how an encoder is written.

    Args:
        columns: Columns that a frame is divided into.
        rate_hz: Frames per second that it expects.

    Example:
        >>> from prismaudio.plan import Plan
        >>> from prismaudio.types import Clip
        >>> frames = torch.zeros(4, 3, 8, 8, dtype=torch.uint8)
        >>> frames[..., 4:] = 255
        >>> BrightnessEncoder(2, 8.0).encode(Clip("a", 0.5, frames, 8.0), Plan({}))[0]
        tensor([0., 1.])
    """

    reads_plan = False

    def __init__(self, columns: int = 4, rate_hz: float = 8.0) -> None:
        within(1, 4096, columns=columns)
        within(0.1, 1000, rate_hz=rate_hz)
        self.dim, self.rate_hz, self.frame_spec = columns, rate_hz, FrameSpec(rate_hz)

    def encode(self, clip: Clip, plan: Plan) -> Tensor:
        """Brightness ``(frames, columns)`` of the clip, in 0 .. 1."""
        if clip.frames is None:
            return torch.zeros(0, self.dim)
        if clip.fps != self.rate_hz:
            raise MediaError(f"clip {clip.id} has {clip.fps} frames a second, expected {self.rate_hz}")
        return brightness(clip.frames, self.dim)


def brightness(frames: Tensor, columns: int) -> Tensor:
    """Brightness ``(..., columns)`` in 0 .. 1 of frames uint8 ``(..., 3, height, width)``."""
    grey = frames.float().mean(-3) / 255
    return F.adaptive_avg_pool2d(grey.flatten(0, -3)[:, None], (1, columns)).view(*grey.shape[:-2], columns)
