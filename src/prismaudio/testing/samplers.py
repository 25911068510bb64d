"""Whether a sampler keeps its contract."""

from __future__ import annotations

import torch
from torch import Tensor

from prismaudio.samplers.base import Sampler
from prismaudio.testing.check import Check

SHAPE = (3, 4, 16)


class _StoppedError(Exception):
    """What the progress report raises."""


def check_sampler(sampler: Sampler, *, reaches: float | None = 1e-3, tolerance: float = 1e-5) -> None:
    """See that a sampler keeps the contract of :class:`prismaudio.samplers.base.Sampler`.

    It goes from time 1 to time 0, with times on the CPU; along a straight path it arrives where that leads; samples do
    not depend on each other, unless it draws; it reports every step, and can be stopped.

    Args:
        sampler: The sampler.
        reaches: Largest distance from where a straight path leads; None for a sampler that may arrive elsewhere.
        tolerance: Largest difference between what must be the same.

    Raises:
        NonconformingError: It does not; the text says in one line what is wrong.
    """
    check = Check(sampler)
    check.that(isinstance(sampler, Sampler), "it is not a Sampler")
    generator = torch.Generator().manual_seed(0)
    data, noise = torch.randn(SHAPE, generator=generator), torch.randn(SHAPE, generator=generator)
    seen: list[Tensor] = []

    def velocity(latents: Tensor, times: Tensor) -> Tensor:
        seen.append(times)
        begin, end = noise[: len(latents)], data[: len(latents)]
        on_path = torch.lerp(end, begin, times.to(latents)[:, None, None])
        return begin - end + latents - on_path  # a straight path, to which others come nearer

    steps: list[tuple[int, int]] = []
    kept = noise.clone()
    torch.manual_seed(0)
    latents = _sample(check, sampler, velocity, noise, lambda done, total: steps.append((done, total)))
    check.that(torch.equal(noise, kept), "it changes the noise in place")
    _check_times(check, seen)
    total = len(steps)
    check.that(total > 0, "it never calls on_step")
    expected = [(step + 1, total) for step in range(total)]
    check.that(steps == expected, f"on_step must be told (1, {total}) .. ({total}, {total}), it was told {steps}")
    if reaches is not None:
        check.close(latents, data, reaches, "along a straight path it does not arrive where that leads, it is off")
    torch.manual_seed(1)
    again = _sample(check, sampler, velocity, noise)
    if torch.equal(again, latents):
        alone = _sample(check, sampler, velocity, noise[:1])
        check.close(alone, latents[:1], tolerance, "a sample made in a batch differs from the same made alone")
    _check_stopping(check, sampler, velocity, noise)


def _sample(check: Check, sampler: Sampler, velocity: object, noise: Tensor, on_step: object = None) -> Tensor:
    with check.doing("sampling"), torch.no_grad():
        latents = sampler.sample(velocity, noise, on_step)  # type: ignore[arg-type]
    right = isinstance(latents, Tensor) and (latents.shape, latents.dtype) == (noise.shape, noise.dtype)
    check.that(right, f"latents must be of the shape and type of the noise, {tuple(noise.shape)} {noise.dtype}")
    check.that(latents.isfinite().all(), "latents must be finite")
    return latents


def _check_times(check: Check, seen: list[Tensor]) -> None:
    check.that(bool(seen), "it never asks for a velocity")
    for times in seen:
        check.that(times.shape == SHAPE[:1], f"times must be of shape {SHAPE[:1]}, not {tuple(times.shape)}")
        check.that(times.device.type == "cpu", "times must be on the CPU")
        check.that(((times >= 0) & (times <= 1)).all(), f"times must be in 0 .. 1, not {times.tolist()}")
    check.that((seen[0] == 1).all(), f"the first time must be 1, which is noise, not {seen[0].tolist()}")


def _check_stopping(check: Check, sampler: Sampler, velocity: object, noise: Tensor) -> None:
    def stop(*_: int) -> None:
        raise _StoppedError

    try:
        sampler.sample(velocity, noise, stop)  # type: ignore[arg-type]
    except _StoppedError:
        return
    check.that(False, "on_step must be able to stop it by raising")
