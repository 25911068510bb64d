"""Conditioners: features of one stream to tokens of the transformer's width, without biases: nothing stays nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional as F

if TYPE_CHECKING:
    from prismaudio.types import Features


class FeatureConditioner(nn.Sequential):
    """Two-layer perceptron without biases.

    Args:
        feature_width: Width of the features.
        width: Width of the tokens.
    """

    def __init__(self, feature_width: int, width: int) -> None:
        super().__init__(nn.Linear(feature_width, width, bias=False), nn.SiLU(), nn.Linear(width, width, bias=False))


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

    def forward(self, values: Tensor) -> Tensor:
        """Tokens ``(batch, time, width)`` of a grid ``(batch, time, feature_width)``."""
        return self.second(F.silu(self.first(values.transpose(1, 2)))).transpose(1, 2)


def to_length(stream: Features, n_frames: int) -> Tensor:
    """Values ``(batch, n_frames, width)`` by linear interpolation over the real part of each sample.

    A stream that already has ``n_frames`` real features is returned as it is, bit for bit.
    """
    values, mask = stream.values, stream.mask
    lengths = mask.sum(1)
    if values.shape[1] == n_frames and bool((mask.all(1) | ~mask.any(1)).all()):
        return values
    rows = [
        F.interpolate(row[None, : int(n)].transpose(1, 2), n_frames, mode="linear")[0].T
        if n
        else row.new_zeros(n_frames, row.shape[-1])
        for row, n in zip(values, lengths, strict=True)
    ]
    return torch.stack(rows)
