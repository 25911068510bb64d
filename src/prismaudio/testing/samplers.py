"""Contract check of samplers."""

from __future__ import annotations

import torch
from torch import Tensor

from prismaudio.samplers.base import Sampler
from prismaudio.testing.check import Check

SHAPE = (3, 4, 16)


class _StoppedError(Exception):
    """Raised by the progress callback."""


def check_sampler(sampler: Sampler, *, reaches: float | None = 1e-3, tolerance: float = 1e-5) -> None:
    """Check that a sampler fulfils the contract of :class:`prismaudio.samplers.base.Sampler`.

    It must integrate from time 1 to time 0, with times on the CPU; reach the end of a straight path; treat samples
    independently, unless it is stochastic; report every step, and be interruptible.

    Args:
        sampler: The sampler.
        reaches: Allowed distance from the end of a straight path; None not to check it.
        tolerance: Allowed difference of equal results.

    Raises:
        NonconformingError: It violates the contract; the message states how, in one line.
    """
    check = Check(sampler)
    check.require(isinstance(sampler, Sampler), "it is not a Sampler")
    generator = torch.Generator().manual_seed(0)
    data, noise = torch.randn(SHAPE, generator=generator), torch.randn(SHAPE, generator=generator)
    seen: list[Tensor] = []

    def velocity(latents: Tensor, times: Tensor) -> Tensor:
        seen.append(times)
        begin, end = noise[: len(latents)], data[: len(latents)]
        on_path = torch.lerp(end, begin, times.to(latents)[:, None, None])
        return begin - end + latents - on_path  # a straight path that attracts deviations

    steps: list[tuple[int, int]] = []
    kept = noise.clone()
    torch.manual_seed(0)
    latents = _sample(check, sampler, velocity, noise, lambda done, total: steps.append((done, total)))
    check.require(torch.equal(noise, kept), "it modifies the noise in place")
    _check_times(check, seen)
    total = len(steps)
    check.require(total > 0, "it never calls on_step")
    expected = [(step + 1, total) for step in range(total)]
    check.require(
        steps == expected, f"on_step must be called with (1, {total}) .. ({total}, {total}), not with {steps}"
    )
    if reaches is not None:
        check.close(latents, data, reaches, "along a straight path it does not reach the end, it is off")
    torch.manual_seed(1)
    again = _sample(check, sampler, velocity, noise)
    if torch.equal(again, latents):
        alone = _sample(check, sampler, velocity, noise[:1])
        check.close(
            alone, latents[:1], tolerance, "a sample generated in a batch differs from the same generated alone"
        )
    _check_stopping(check, sampler, velocity, noise)


def _sample(check: Check, sampler: Sampler, velocity: object, noise: Tensor, on_step: object = None) -> Tensor:
    with check.during("sampling"), torch.no_grad():
        latents = sampler.sample(velocity, noise, on_step)  # type: ignore[arg-type]
    right = isinstance(latents, Tensor) and (latents.shape, latents.dtype) == (noise.shape, noise.dtype)
    check.require(right, f"latents must have the shape and dtype of the noise, {tuple(noise.shape)} {noise.dtype}")
    check.require(latents.isfinite().all(), "latents must be finite")
    return latents


def _check_times(check: Check, seen: list[Tensor]) -> None:
    check.require(bool(seen), "it never calls the velocity function")
    for times in seen:
        check.require(times.shape == SHAPE[:1], f"times must have shape {SHAPE[:1]}, not {tuple(times.shape)}")
        check.require(times.device.type == "cpu", "times must be on the CPU")
        check.require(((times >= 0) & (times <= 1)).all(), f"times must be in 0 .. 1, not {times.tolist()}")
    check.require((seen[0] == 1).all(), f"the first time must be 1 (noise), not {seen[0].tolist()}")


def _check_stopping(check: Check, sampler: Sampler, velocity: object, noise: Tensor) -> None:
    def stop(*_: int) -> None:
        raise _StoppedError

    try:
        sampler.sample(velocity, noise, stop)  # type: ignore[arg-type]
    except _StoppedError:
        return
    check.require(False, "an exception in on_step must stop it")
