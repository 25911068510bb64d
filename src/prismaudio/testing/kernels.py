"""Contract check of transition kernels."""

from __future__ import annotations

import torch
from torch import Tensor

from prismaudio.flow.kernels import Transition, TransitionKernel
from prismaudio.testing.check import Check

SHAPE = (4, 3, 8)
T, T_NEXT = (1.0, 0.9, 0.5, 0.1), (0.95, 0.7, 0.45, 0.02)
SIGMA_DATA = 0.5
FINE_STEPS = 1000
LAST = 0.02
"""Time at which the fine steps end; the remaining step is deterministic."""


def check_kernel(kernel: TransitionKernel, *, converges: float | None = 0.02, tolerance: float = 1e-5) -> None:
    """Check that a kernel fulfils the contract of :class:`prismaudio.flow.kernels.TransitionKernel`.

    Transitions must be finite and float32 for any dtype of the network, and independent for each sample; the
    log-density must be that of the distribution sampled from; ``kappa`` must be the sensitivity to the velocity; many
    small steps must turn noise into data of the right standard deviation; the kernel must be reproducible from its
    ``config``.

    Args:
        kernel: The kernel.
        converges: Allowed relative error of the standard deviation after many small steps; None for a kernel that does
            not converge to the data distribution.
        tolerance: Allowed difference of equal results.

    Raises:
        NonconformingError: It violates the contract; the message states how, in one line.
    """
    check = Check(kernel)
    check.require(isinstance(kernel, TransitionKernel), "it is not a TransitionKernel")
    generator = torch.Generator().manual_seed(0)
    latents, velocity = torch.randn(SHAPE, generator=generator), torch.randn(SHAPE, generator=generator)
    t, t_next = torch.tensor(T), torch.tensor(T_NEXT)
    whole = _transition(check, kernel, velocity, latents, t, t_next)
    for row in range(len(latents)):
        rows = slice(row, row + 1)
        alone = _transition(check, kernel, velocity[rows], latents[rows], t[rows], t_next[rows])
        check.close(alone.mean, whole.mean[rows], tolerance, "the mean of a sample differs between a batch and alone")
        check.close(alone.std, whole.std[rows], tolerance, "the std of a sample differs between a batch and alone")
    _transition(check, kernel, velocity.bfloat16(), latents.bfloat16(), t, t_next)
    with check.during("constructing it from its config"):
        again = type(kernel)(**kernel.config).transition(velocity, latents, t, t_next)
    check.close(again.mean, whole.mean, 0.0, "constructed from its config, its mean differs")
    random = bool((whole.std > 0).all())
    check.require(
        random or bool((whole.std == 0).all()), f"std must be 0 for all samples or for none: {whole.std.tolist()}"
    )
    if random:
        _check_density(check, kernel, whole, velocity, latents, tolerance)
    if converges is not None:
        _check_spread(check, kernel, converges)


def _transition(
    check: Check, kernel: TransitionKernel, velocity: Tensor, latents: Tensor, t: Tensor, t_next: Tensor
) -> Transition:
    kept = latents.clone()
    with check.during("computing a transition"):
        made = kernel.transition(velocity, latents, t, t_next)
    check.require(torch.equal(latents, kept), "it modifies the latents in place")
    right = made.mean.shape == latents.shape and made.std.shape == latents.shape[:1]
    check.require(right, f"mean and std have shapes {tuple(made.mean.shape)} and {tuple(made.std.shape)}")
    for value in (made.mean, made.std):
        check.require(value.dtype == torch.float32, f"mean and std must be float32, not {value.dtype}")
        check.require(value.isfinite().all(), "mean and std must be finite")
    check.require((made.std >= 0).all(), f"std must not be negative: {made.std.tolist()}")
    return made


def _check_density(
    check: Check, kernel: TransitionKernel, made: Transition, velocity: Tensor, latents: Tensor, tolerance: float
) -> None:
    """Check that the density is that of the samples, and that ``kappa`` is its sensitivity to the velocity."""
    noise = torch.randn(SHAPE, generator=torch.Generator().manual_seed(1))
    expected = torch.distributions.Normal(made.mean, made.std[:, None, None])
    with check.during("computing the density of a sample"):
        drawn = made.sample(noise)
        found = made.log_prob(drawn, "sum")
    check.close(
        found, expected.log_prob(drawn).sum((1, 2)), 1e-3, "log_prob is not the log-density of its samples, it differs"
    )
    t, t_next = torch.tensor(T), torch.tensor(T_NEXT)
    moved = kernel.transition(velocity + 1, latents, t, t_next).mean - made.mean
    kappa = moved.abs().mean((1, 2)) / made.std
    differs = "kappa is not |d mean / d velocity| / std, it differs"
    check.close(kernel.kappa(t, t_next), kappa, max(tolerance, 1e-3), differs)


def _check_spread(check: Check, kernel: TransitionKernel, tolerance: float) -> None:
    """Check that many small steps with the exact velocity of normal data reach the right standard deviation."""
    grid = torch.linspace(1, LAST, FINE_STEPS + 1, dtype=torch.float64)
    t, ones = grid[:-1], torch.ones(FINE_STEPS, 1, dtype=torch.float64)
    slopes = (t - (1 - t) * SIGMA_DATA**2) / ((1 - t) ** 2 * SIGMA_DATA**2 + t**2)
    with check.during("computing small steps"):
        made = kernel.transition(slopes[:, None], ones, t, grid[1:])
    variance = 1.0
    for factor, std in zip(made.mean[:, 0].tolist(), made.std.tolist(), strict=True):
        variance = factor**2 * variance + std**2
    expected = (1 - LAST) ** 2 * SIGMA_DATA**2 + LAST**2
    off = abs(variance / expected - 1) / 2
    check.require(off <= tolerance, f"after {FINE_STEPS} steps the std is {off:.1%} off, allowed {tolerance:.1%}")
