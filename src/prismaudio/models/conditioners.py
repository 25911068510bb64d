"""Conditioners: features of one stream to tokens, without biases, so that nothing stays nothing.

Shape letters: B batch, N features, L frames, W width.
"""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from prismaudio.types import Features

SYNC_SEGMENT = 8
"""Features that the synchronisation encoder makes of one segment of video."""


class Conditioner(Protocol):
    """What makes tokens of a stream's features."""

    def tokens(self, stream: Features) -> Features:
        """As many tokens as there are features, zero where nothing is real."""


class FeatureConditioner(nn.Sequential):
    """Two-layer perceptron without biases.

    Args:
        feature_width: Width of the features.
        width: Width of the tokens.
    """

    def __init__(self, feature_width: int, width: int) -> None:
        super().__init__(nn.Linear(feature_width, width, bias=False), nn.SiLU(), nn.Linear(width, width, bias=False))

    def tokens(self, stream: Features) -> Features:
        """See :meth:`Conditioner.tokens`."""
        return stream.with_values(self(stream.values))


class SyncConditioner(FeatureConditioner):
    """The same, told where in its segment of video a feature lies.

    The features of a clip need not be a whole number of segments.

    Args:
        feature_width: Width of the features.
        width: Width of the tokens.
        segment: Features of one segment.
    """

    def __init__(self, feature_width: int, width: int, segment: int = SYNC_SEGMENT) -> None:
        super().__init__(feature_width, width)
        self.position = nn.Parameter(torch.zeros(segment, feature_width))

    def tokens(self, stream: Features) -> Features:
        """See :meth:`Conditioner.tokens`."""
        n_features = stream.values.shape[1]
        n_segments = -(-n_features // len(self.position))
        return stream.with_values(self(stream.values + self.position.repeat(n_segments, 1)[:n_features]))


class GridConditioner(nn.Module):
    """Two convolutions over time without biases, for sparse events on a time grid.

    Args:
        feature_width: Width of the grid.
        width: Width of the tokens.
        kernel: Grid steps that a convolution spans, odd.
    """

    def __init__(self, feature_width: int, width: int, kernel: int = 7) -> None:
        super().__init__()
        self.first = nn.Conv1d(feature_width, width, kernel, padding=kernel // 2, bias=False)
        self.second = nn.Conv1d(width, width, kernel, padding=kernel // 2, bias=False)

    def tokens(self, stream: Features) -> Features:
        """See :meth:`Conditioner.tokens`."""
        inner = self.first(stream.values.transpose(1, 2))
        inner = F.silu(inner) * stream.mask[:, None]  # no echo of a clip beyond its end
        return stream.with_values(self.second(inner).transpose(1, 2))


def to_length(stream: Features, n_frames: int, real: Tensor | None = None) -> Tensor:
    """Values ``(batch, n_frames, width)`` by linear interpolation over the real part of each sample, which comes first.

    A sample that has as many real features as frames is left as it is, bit for bit. Nothing waits for a device.

    Args:
        stream: The features.
        n_frames: Frames wanted, padding included.
        real: True where a frame is real, ``(batch, n_frames)``, real frames first; None for all.

    Example:
        >>> ramp = Features.pad([torch.arange(4.0)[:, None]])
        >>> to_length(ramp, 2).flatten().tolist()
        [0.5, 2.5]
    """
    values_BNW, n_real_B1 = stream.values, stream.mask.sum(1, keepdim=True)
    wanted = n_frames if real is None else real.sum(1, keepdim=True).clamp_min(1)
    last_B1 = (n_real_B1 - 1).clamp_min(0)
    middle_L = torch.arange(n_frames, device=values_BNW.device) + 0.5
    # fused multiply-add, as torch's own interpolation has it, so that the numbers are the same
    at_BL = torch.addcmul(middle_L.new_tensor(-0.5), middle_L, n_real_B1 / wanted).clamp_min(0).minimum(last_B1)
    before_BL = at_BL.long()
    after_BL = (before_BL + 1).minimum(last_B1)
    share_BL1 = (at_BL - before_BL)[..., None]
    rows = torch.arange(len(values_BNW), device=values_BNW.device)[:, None]
    before_BLW, after_BLW = values_BNW[rows, before_BL], values_BNW[rows, after_BL]
    return torch.addcmul(after_BLW * share_BL1, before_BLW, 1 - share_BL1).to(values_BNW.dtype)
