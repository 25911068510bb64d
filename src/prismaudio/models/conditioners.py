"""Conditioners: features of one stream to tokens, without biases, so that nothing stays nothing.

Shape letters: B batch, N features, L frames, W token dim.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from prismaudio.checkpoints import Configured, within
from prismaudio.types import Features

SYNC_SEGMENT = 8
"""Features that the synchronisation encoder makes of one segment of video."""
MAX_DIM = 2**20
"""Above the dim of any features or tokens."""


class Conditioner(Configured, nn.Module, ABC):
    """A stream of a transformer: how wide its features are, what makes tokens of them, and where the tokens go.

    Args:
        dim: Dim of the features.
        token_dim: Dim of the tokens: that of the transformer, as a rule.
        cross_attended: Whether the blocks attend to the tokens.
        additive: Whether the tokens are added to the latents along time, through a learned gate.
        gate: What the gate of an additive stream is at first, before its sigmoid.

    Attributes:
        resampled_first: Whether tokens are brought to the rate of the latents before they are projected, as the
            published model does with synchronisation; the others are projected first.
    """

    resampled_first: ClassVar[bool] = False

    def __init__(
        self,
        dim: int,
        token_dim: int,
        *,
        cross_attended: bool = False,
        additive: bool = False,
        gate: float = 0.0,
    ) -> None:
        super().__init__()
        within(1, MAX_DIM, dim=dim, token_dim=token_dim)
        within(-100, 100, gate=gate)
        self.dim, self.token_dim = dim, token_dim
        self.cross_attended, self.additive, self.gate = cross_attended, additive, gate

    @abstractmethod
    def tokens(self, stream: Features) -> Features:
        """As many tokens as there are features, ``(batch, time, token_dim)``, zero where nothing is real."""


def perceptron(dim: int, out_dim: int) -> nn.Sequential:
    """Two layers without biases."""
    return nn.Sequential(nn.Linear(dim, out_dim, bias=False), nn.SiLU(), nn.Linear(out_dim, out_dim, bias=False))


class FeatureConditioner(Conditioner):
    """Two-layer perceptron without biases.

    Args:
        dim: Dim of the features.
        token_dim: Dim of the tokens.
        cross_attended: Whether the blocks attend to the tokens.
        additive: Whether the tokens are added to the latents along time.
        gate: What the gate of an additive stream is at first, before its sigmoid.
    """

    def __init__(
        self,
        dim: int,
        token_dim: int,
        *,
        cross_attended: bool = False,
        additive: bool = False,
        gate: float = 0.0,
    ) -> None:
        super().__init__(dim, token_dim, cross_attended=cross_attended, additive=additive, gate=gate)
        for name, layer in perceptron(dim, token_dim).named_children():
            self.add_module(name, layer)

    def forward(self, values: Tensor) -> Tensor:
        """Tokens of features ``(batch, time, dim)``."""
        for layer in self.children():
            values = layer(values)
        return values

    def tokens(self, stream: Features) -> Features:
        """See :meth:`Conditioner.tokens`."""
        return stream.with_values(self(stream.values))


class SyncConditioner(FeatureConditioner):
    """The same, told where in its segment of video a feature lies.

    The features of a clip need not be a whole number of segments.

    Args:
        dim: Dim of the features.
        token_dim: Dim of the tokens.
        cross_attended: Whether the blocks attend to the tokens.
        additive: Whether the tokens are added to the latents along time.
        gate: What the gate of an additive stream is at first, before its sigmoid.
        segment: Features of one segment.
    """

    resampled_first = True

    def __init__(
        self,
        dim: int,
        token_dim: int,
        *,
        cross_attended: bool = False,
        additive: bool = False,
        gate: float = 0.0,
        segment: int = SYNC_SEGMENT,
    ) -> None:
        super().__init__(dim, token_dim, cross_attended=cross_attended, additive=additive, gate=gate)
        within(1, MAX_DIM, segment=segment)
        self.position = nn.Parameter(torch.zeros(segment, dim))

    def tokens(self, stream: Features) -> Features:
        """See :meth:`Conditioner.tokens`."""
        n_features = stream.values.shape[1]
        n_segments = -(-n_features // len(self.position))
        return stream.with_values(self(stream.values + self.position.repeat(n_segments, 1)[:n_features]))


class GridConditioner(Conditioner):
    """Two convolutions over time without biases, for sparse events on a time grid.

    Args:
        dim: Dim of the grid.
        token_dim: Dim of the tokens.
        cross_attended: Whether the blocks attend to the tokens.
        additive: Whether the tokens are added to the latents along time.
        gate: What the gate of an additive stream is at first, before its sigmoid.
        kernel: Grid steps that a convolution spans, odd.
    """

    def __init__(
        self,
        dim: int,
        token_dim: int,
        *,
        cross_attended: bool = False,
        additive: bool = False,
        gate: float = 0.0,
        kernel: int = 7,
    ) -> None:
        super().__init__(dim, token_dim, cross_attended=cross_attended, additive=additive, gate=gate)
        within(1, 1001, kernel=kernel)
        self.first = nn.Conv1d(dim, token_dim, kernel, padding=kernel // 2, bias=False)
        self.second = nn.Conv1d(token_dim, token_dim, kernel, padding=kernel // 2, bias=False)

    def tokens(self, stream: Features) -> Features:
        """See :meth:`Conditioner.tokens`."""
        inner = self.first(stream.values.transpose(1, 2))
        inner = F.silu(inner) * stream.mask[:, None]  # no echo of a clip beyond its end
        return stream.with_values(self.second(inner).transpose(1, 2))


def to_length(stream: Features, n_frames: int, real: Tensor | None = None) -> Tensor:
    """Values ``(batch, n_frames, dim)`` by linear interpolation over the real part of each sample, which comes first.

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
