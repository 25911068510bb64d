"""Conditioners project the features of one stream to tokens; they have no biases, so that zeros stay zeros.

Shape letters: B batch, N features, L frames, W token dim.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from prismaudio.checkpoints import Configured, within
from prismaudio.types import Features

SYNC_SEGMENT = 8
"""Features that the synchronisation encoder computes per video segment."""
MAX_DIM = 2**20
"""Upper limit of feature and token dims."""


class Conditioner(Configured, nn.Module, ABC):
    """Base class of conditioners: the feature dim of a stream, its projection to tokens, and how the tokens are used.

    Args:
        dim: Dim of the features.
        token_dim: Dim of the tokens, usually that of the transformer.
        cross_attended: Whether the blocks attend to the tokens.
        additive: Whether the tokens are added to the latents along time, through a learned gate.
        gate: Initial value of the gate of an additive stream, before the sigmoid.

    Attributes:
        resampled_first: Whether features are interpolated to the latent frame rate before the final projection, as
            the published model does for synchronisation; other streams are projected first.
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
        """Project a stream to as many tokens ``(batch, time, token_dim)``; padded positions are zero."""


def bias_free_mlp(dim: int, out_dim: int) -> nn.Sequential:
    """Create a two-layer perceptron without biases."""
    return nn.Sequential(nn.Linear(dim, out_dim, bias=False), nn.SiLU(), nn.Linear(out_dim, out_dim, bias=False))


class FeatureConditioner(Conditioner):
    """Two-layer perceptron without biases, for features of any stream.

    Args:
        dim: Dim of the features.
        token_dim: Dim of the tokens.
        kwargs: See :class:`Conditioner`.
    """

    def __init__(self, dim: int, token_dim: int, **kwargs: Any) -> None:
        super().__init__(dim=dim, token_dim=token_dim, **kwargs)
        for name, layer in bias_free_mlp(dim, token_dim).named_children():
            self.add_module(name, layer)

    def forward(self, values: Tensor) -> Tensor:
        """Project features ``(batch, time, dim)`` to tokens."""
        for layer in self.children():
            values = layer(values)
        return values

    def tokens(self, stream: Features) -> Features:
        """See :meth:`Conditioner.tokens`."""
        return stream.with_values(self(stream.values))


class SyncConditioner(FeatureConditioner):
    """Two-layer perceptron without biases that adds a learned embedding of the position within a video segment.

    The number of features does not have to be a multiple of the segment length.

    Args:
        dim: Dim of the features.
        token_dim: Dim of the tokens.
        segment: Features per segment.
        kwargs: See :class:`Conditioner`.
    """

    resampled_first = True

    def __init__(self, dim: int, token_dim: int, *, segment: int = SYNC_SEGMENT, **kwargs: Any) -> None:
        super().__init__(dim=dim, token_dim=token_dim, **kwargs)
        within(1, MAX_DIM, segment=segment)
        self.position = nn.Parameter(torch.zeros(segment, dim))

    def tokens(self, stream: Features) -> Features:
        """See :meth:`Conditioner.tokens`."""
        n_features = stream.values.shape[1]
        n_segments = -(-n_features // len(self.position))
        return stream.with_values(self(stream.values + self.position.repeat(n_segments, 1)[:n_features]))


class GridConditioner(Conditioner):
    """Two convolutions over time, without biases, for sparse events on a time grid.

    Args:
        dim: Dim of the grid features.
        token_dim: Dim of the tokens.
        kernel: Kernel size of both convolutions in grid steps, odd.
        kwargs: See :class:`Conditioner`.
    """

    def __init__(self, dim: int, token_dim: int, *, kernel: int = 7, **kwargs: Any) -> None:
        super().__init__(dim=dim, token_dim=token_dim, **kwargs)
        within(1, 1001, kernel=kernel)
        self.first = nn.Conv1d(dim, token_dim, kernel, padding=kernel // 2, bias=False)
        self.second = nn.Conv1d(token_dim, token_dim, kernel, padding=kernel // 2, bias=False)

    def tokens(self, stream: Features) -> Features:
        """See :meth:`Conditioner.tokens`."""
        inner = self.first(stream.values.transpose(1, 2))
        inner = F.silu(inner) * stream.mask[:, None]  # otherwise padding would leak into the second convolution
        return stream.with_values(self.second(inner).transpose(1, 2))


def to_length(stream: Features, n_frames: int, real: Tensor | None = None) -> Tensor:
    """Interpolate the real part of each sample, which comes first, linearly to ``(batch, n_frames, dim)``.

    A sample with as many real features as real frames is returned unchanged, bit for bit. The function does not
    synchronise with the device.

    Args:
        stream: The features.
        n_frames: Number of output frames, padding included.
        real: True where a frame is real, ``(batch, n_frames)``, real frames first; None if all are real.

    Example:
        >>> ramp = Features.pad([torch.arange(4.0)[:, None]])
        >>> to_length(ramp, 2).flatten().tolist()
        [0.5, 2.5]
    """
    values_BNW, n_real_B1 = stream.values, stream.mask.sum(1, keepdim=True)
    wanted = n_frames if real is None else real.sum(1, keepdim=True).clamp_min(1)
    last_B1 = (n_real_B1 - 1).clamp_min(0)
    middle_L = torch.arange(n_frames, device=values_BNW.device) + 0.5
    # fused multiply-add, as in torch's own interpolation, so that the results are identical
    at_BL = torch.addcmul(middle_L.new_full((), -0.5), middle_L, n_real_B1 / wanted).clamp_min(0).minimum(last_B1)
    before_BL = at_BL.long()
    after_BL = (before_BL + 1).minimum(last_B1)
    share_BL1 = (at_BL - before_BL)[..., None]
    rows = torch.arange(len(values_BNW), device=values_BNW.device)[:, None]
    before_BLW, after_BLW = values_BNW[rows, before_BL], values_BNW[rows, after_BL]
    return torch.addcmul(after_BLW * share_BL1, before_BLW, 1 - share_BL1).to(values_BNW.dtype)
