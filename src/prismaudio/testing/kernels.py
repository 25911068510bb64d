"""Whether a transition kernel keeps its contract."""

from __future__ import annotations

import torch
from torch import Tensor

from prismaudio.flow.kernels import Transition, TransitionKernel
from prismaudio.testing.check import Check

SHAPE = (4, 3, 8)
NOW, LATER = (1.0, 0.9, 0.5, 0.1), (0.95, 0.7, 0.45, 0.02)
SIGMA_DATA = 0.5
FINE_STEPS = 1000
LAST = 0.02
"""Time at which the fine steps end: what is left to do there is deterministic."""


def check_kernel(kernel: TransitionKernel, *, converges: float | None = 0.02, tolerance: float = 1e-5) -> None:
    """See that a kernel keeps the contract of :class:`prismaudio.flow.kernels.TransitionKernel`.

    Transitions are finite float32 whatever the network computes in, and one for each sample by itself; the
    log-density is that of what is drawn; ``kappa`` is how much the velocity matters; in many small steps noise becomes
    data of the right spread; the kernel can be made again from its arguments.

    Args:
        kernel: The kernel.
        converges: Largest relative error of the spread after many small steps; None for a kernel that does not come to
            the distribution of the data.
        tolerance: Largest difference between what must be the same.

    Raises:
        NonconformingError: It does not; the text says in one line what is wrong.
    """
    check = Check(kernel)
    check.that(isinstance(kernel, TransitionKernel), "it is not a TransitionKernel")
    generator = torch.Generator().manual_seed(0)
    latents, velocity = torch.randn(SHAPE, generator=generator), torch.randn(SHAPE, generator=generator)
    now, later = torch.tensor(NOW), torch.tensor(LATER)
    whole = _transition(check, kernel, velocity, latents, now, later)
    for row in range(len(latents)):
        rows = slice(row, row + 1)
        alone = _transition(check, kernel, velocity[rows], latents[rows], now[rows], later[rows])
        check.close(alone.mean, whole.mean[rows], tolerance, "the mean of a sample in a batch differs from it alone")
        check.close(alone.std, whole.std[rows], tolerance, "the deviation in a batch differs from it alone")
    _transition(check, kernel, velocity.bfloat16(), latents.bfloat16(), now, later)
    with check.doing("making it again from its arguments"):
        again = type(kernel)(**kernel.config).transition(velocity, latents, now, later)
    check.close(again.mean, whole.mean, 0.0, "made again from its arguments, its mean differs")
    random = bool((whole.std > 0).all())
    check.that(random or bool((whole.std == 0).all()), f"some deviations are 0 and some are not: {whole.std.tolist()}")
    if random:
        _check_density(check, kernel, whole, velocity, latents, tolerance)
    if converges is not None:
        _check_spread(check, kernel, converges)


def _transition(
    check: Check, kernel: TransitionKernel, velocity: Tensor, latents: Tensor, now: Tensor, later: Tensor
) -> Transition:
    kept = latents.clone()
    with check.doing("making a transition"):
        made = kernel.transition(velocity, latents, now, later)
    check.that(torch.equal(latents, kept), "it changes the latents in place")
    right = made.mean.shape == latents.shape and made.std.shape == latents.shape[:1]
    check.that(right, f"mean and deviation are {tuple(made.mean.shape)} and {tuple(made.std.shape)}")
    for value in (made.mean, made.std):
        check.that(value.dtype == torch.float32, f"mean and deviation must be float32, not {value.dtype}")
        check.that(value.isfinite().all(), "mean and deviation must be finite")
    check.that((made.std >= 0).all(), f"deviations must not be below 0: {made.std.tolist()}")
    return made


def _check_density(
    check: Check, kernel: TransitionKernel, made: Transition, velocity: Tensor, latents: Tensor, tolerance: float
) -> None:
    """The density is that of what is drawn, and depends on the velocity as kappa says."""
    noise = torch.randn(SHAPE, generator=torch.Generator().manual_seed(1))
    expected = torch.distributions.Normal(made.mean, made.std[:, None, None])
    with check.doing("the density of what is drawn"):
        drawn = made.sample(noise)
        found = made.log_prob(drawn, "sum")
    check.close(found, expected.log_prob(drawn).sum((1, 2)), 1e-3, "the log-density is not that of what it draws, off")
    now, later = torch.tensor(NOW), torch.tensor(LATER)
    moved = kernel.transition(velocity + 1, latents, now, later).mean - made.mean
    kappa = moved.abs().mean((1, 2)) / made.std
    check.close(kernel.kappa(now, later), kappa, max(tolerance, 1e-3), "kappa is not |d mean / d velocity| / std, off")


def _check_spread(check: Check, kernel: TransitionKernel, tolerance: float) -> None:
    """With the exact velocity of normal data, many small steps keep the spread that belongs to each time."""
    grid = torch.linspace(1, LAST, FINE_STEPS + 1, dtype=torch.float64)
    t, ones = grid[:-1], torch.ones(FINE_STEPS, 1, dtype=torch.float64)
    slopes = (t - (1 - t) * SIGMA_DATA**2) / ((1 - t) ** 2 * SIGMA_DATA**2 + t**2)
    with check.doing("making small steps"):
        made = kernel.transition(slopes[:, None], ones, t, grid[1:])
    variance = 1.0
    for factor, std in zip(made.mean[:, 0].tolist(), made.std.tolist(), strict=True):
        variance = factor**2 * variance + std**2
    expected = (1 - LAST) ** 2 * SIGMA_DATA**2 + LAST**2
    off = abs(variance / expected - 1) / 2
    check.that(off <= tolerance, f"after {FINE_STEPS} steps the spread is {off:.1%} off, allowed {tolerance:.1%}")
