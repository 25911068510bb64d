"""The stream ``flow``."""

import torch
from torch import nn

from prismaudio.checkpoints import Configured
from prismaudio.encoders.base import Encoder
from prismaudio.models.conditioners import Conditioner
from prismaudio.types import FrameSpec


class FlowEncoder(Configured, Encoder):
    """Change of brightness since the frame before, by column.

    Args:
        columns: Columns that a frame is divided into.
        rate_hz: Frames per second that it expects.
    """

    reads_plan = False

    def __init__(self, columns: int = 4, rate_hz: float = 8.0) -> None:
        self.dim, self.rate_hz, self.frame_spec = columns, rate_hz, FrameSpec(rate_hz, 16)

    def encode(self, clip, plan):
        if clip.frames is None:
            return torch.zeros(0, self.dim)
        grey = clip.frames.float().mean(1) / 255
        change = torch.zeros_like(grey)
        change[1:] = grey[1:] - grey[:-1]
        return nn.functional.adaptive_avg_pool2d(change[:, None], (1, self.dim)).flatten(1)


class FlowConditioner(Conditioner):
    """One layer without a bias.

    Args:
        dim: Dim of the features.
        token_dim: Dim of the tokens.
        additive: Whether the tokens are added to the latents along time.
    """

    def __init__(self, dim: int, token_dim: int, *, additive: bool = True) -> None:
        super().__init__(dim, token_dim, cross_attended=True, additive=additive, gate=2.0)
        self.layer = nn.Linear(dim, token_dim, bias=False)

    def tokens(self, stream):
        return stream.with_values(self.layer(stream.values))
