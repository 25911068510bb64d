"""The straight path between data (time 0) and noise (time 1)."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


def interpolate(data: Tensor, noise: Tensor, times: Tensor) -> Tensor:
    """Point of the path: ``(1 - t) data + t noise``, all ``(batch, channels, frames)``, times ``(batch,)``."""
    t = times[:, None, None]
    return (1 - t) * data + t * noise


def velocity_target(data: Tensor, noise: Tensor) -> Tensor:
    """Velocity of the path, ``noise - data``, the same at all times."""
    return noise - data
