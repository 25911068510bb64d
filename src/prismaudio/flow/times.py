"""Time samplers for training and time grids for sampling."""

from __future__ import annotations

import math

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


def truncated_logit_normal_times(count: int, lowest: float = 0.075, generator: torch.Generator | None = None) -> Tensor:
    """Training times ``(count,)`` as the published model draws them: logit-normal without its noisiest part, stretched.

    Args:
        count: How many.
        lowest: Share of the way from noise to data below which times are cut off, before they are stretched to 0 .. 1.
        generator: Source of randomness.

    Example:
        >>> times = truncated_logit_normal_times(1000, generator=torch.Generator().manual_seed(0))
        >>> bool(((times >= 0) & (times <= 1)).all()), round(float(times.mean()), 1)
        (True, 0.5)
    """
    return 1 - truncated_logistic(torch.randn(count, generator=generator), lowest)


def truncated_logistic(normal: Tensor, lowest: float = 0.075) -> Tensor:
    """Logistic of normal numbers above its value ``lowest``, stretched to 0 .. 1, of the same shape.

    Computed in the precision of ``normal``: the published times are those of float32.

    Args:
        normal: Standard normal numbers.
        lowest: Value of the logistic that becomes 0.

    Source:
        PrismAudio's training, time sampler ``trunc_logit_normal``, from its specification: with
        ``b = Phi(logit(lowest))``, the logistic of ``Phi^-1(b + (1 - b) Phi(z))``, rescaled.
    """
    below = _normal_cdf(torch.logit(torch.tensor(lowest, dtype=normal.dtype, device=normal.device)))
    share = below + (1 - below) * _normal_cdf(normal)
    return (torch.sigmoid(math.sqrt(2) * torch.erfinv(2 * share - 1)) - lowest) / (1 - lowest)


def _normal_cdf(normal: Tensor) -> Tensor:
    # not ndtr, whose last bits differ from the published numbers
    return 0.5 * (1 + torch.erf(normal / math.sqrt(2)))


def uniform_grid(steps: int) -> Tensor:
    """Sampling times ``(steps + 1,)`` from 1 to 0 in equal steps, the published inference grid.

    Example:
        >>> uniform_grid(4).tolist()
        [1.0, 0.75, 0.5, 0.25, 0.0]
    """
    return torch.linspace(1, 0, steps + 1)


def release_grid(steps: int) -> Tensor:
    """Times ``(steps + 1,)`` of the released reinforcement learning: equal steps from 1 to 0.001, then a last one to 0.

    Source:
        The scheduler of diffusers 0.33.1 with 1,000 training times and no shift, as PrismAudio's released code uses it;
        its inference has :func:`uniform_grid`.

    Example:
        >>> release_grid(4).tolist()
        [1.0, 0.666..., 0.333..., 0.001..., 0.0]
    """
    return torch.nn.functional.pad(torch.linspace(1, 0.001, steps, dtype=torch.float64).float(), (0, 1))


def shorten_tail(grid: Tensor, head_steps: int, max_tail_steps: int) -> Tensor:
    """A grid in which at most ``max_tail_steps`` equal steps follow the first ``head_steps``.

    Args:
        grid: Times from 1 to 0.
        head_steps: Steps that are kept: those up to the end of the window.
        max_tail_steps: Steps after them at most; a grid that has no more is returned unchanged.

    Source:
        MixGRPO-Flash (2507.21802): steps after the window are not trained, and may be coarser.

    Example:
        >>> shorten_tail(uniform_grid(10), 4, 2).tolist()
        [1.0, 0.899..., 0.800..., 0.699..., 0.600..., 0.300..., 0.0]
    """
    if len(grid) - 1 - head_steps <= max_tail_steps:
        return grid
    return torch.cat([grid[: head_steps + 1], torch.linspace(float(grid[head_steps]), 0, max_tail_steps + 1)[1:]])
