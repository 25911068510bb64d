"""Time samplers for training and time grids for sampling."""

from __future__ import annotations

import torch
from torch import Tensor


def logit_normal_times(
    count: int, mean: float = 0.0, spread: float = 1.0, generator: torch.Generator | None = None
) -> Tensor:
    """Training times ``(count,)`` in 0 .. 1: the logistic of normal numbers.

    Args:
        count: How many.
        mean: Mean of the normal numbers; above 0 favours noisy times.
        spread: Their standard deviation.
        generator: Source of randomness.

    Example:
        >>> bool((logit_normal_times(100) < 1).all())
        True
    """
    return torch.sigmoid(mean + spread * torch.randn(count, generator=generator))


def uniform_grid(steps: int) -> Tensor:
    """Sampling times ``(steps + 1,)`` from 1 to 0 in equal steps, the published inference grid.

    Example:
        >>> uniform_grid(4).tolist()
        [1.0, 0.75, 0.5, 0.25, 0.0]
    """
    return 1 - torch.arange(steps + 1) / steps
