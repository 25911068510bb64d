"""Rollouts: sampling with a window of stochastic steps, and replaying these steps with gradients."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from prismaudio.errors import PrismAudioError
from prismaudio.flow.kernels import Transition, TransitionKernel
from prismaudio.samplers.base import GridSampler, Velocity
from prismaudio.samplers.euler import EulerSampler

if TYPE_CHECKING:
    from prismaudio.training.grpo.windows import Window


@dataclass(frozen=True, eq=False)
class Rollout:
    """Samples, and the stochastic steps that are needed to train on them.

    Rows are in the order of the noise, and the ``branch_size`` samples of one noise are consecutive: row
    ``b * branch_size + k``. Latents may have any number of dimensions after the first.

    Args:
        window: The stochastic steps.
        grid: Times ``(steps + 1,)`` on the CPU.
        kernel: The kernel of the stochastic steps.
        states: Latents ``(len(window) + 1, batch, ...)`` float32 before, between and after them.
        means: Means ``(len(window), batch, ...)`` of the steps under the policy that sampled them.
        stds: Their standard deviations ``(len(window), batch)``.
        latents: Latents ``(batch, ...)`` at time 0, to be decoded and scored.
        share_size: Consecutive rows whose first stochastic step was computed once for all of them; 1 where each row has
            its own.
    """

    window: Window
    grid: Tensor
    kernel: TransitionKernel
    states: Tensor
    means: Tensor
    stds: Tensor
    latents: Tensor
    share_size: int = 1

    def times(self, index: int) -> tuple[Tensor, Tensor]:
        """Times ``(batch,)`` on the CPU at the start and the end of the window's step ``index``, from 0."""
        step = self.window.start + index
        batch = self.states.shape[1]
        return self.grid[step].expand(batch), self.grid[step + 1].expand(batch)

    def transition(self, index: int) -> Transition:
        """The window's step ``index``, from 0, under the policy that sampled ``states[index + 1]``."""
        return Transition(self.means[index], self.stds[index])

    def rows(self, rows: slice | Tensor) -> Rollout:
        """The rollout of some rows, in the given order."""
        return replace(
            self,
            states=self.states[:, rows],
            means=self.means[:, rows],
            stds=self.stds[:, rows],
            latents=self.latents[rows],
        )

    def to(self, device: torch.device | str) -> Rollout:
        """Copy to another device; the times stay on the CPU."""
        moved = {name: getattr(self, name).to(device) for name in ("states", "means", "stds", "latents")}
        return replace(self, **moved)


@torch.no_grad()
def rollout(
    velocity: Velocity,
    noise: Tensor,
    grid: Tensor,
    window: Window,
    kernel: TransitionKernel,
    draw: Callable[[int], Tensor],
    *,
    branch_size: int = 1,
    prefix: Velocity | None = None,
    solver: GridSampler | None = None,
    share_first: bool = False,
) -> Rollout:
    """Sample deterministically up to the window, branch, take stochastic steps in it, and finish deterministically.

    Args:
        velocity: The guided velocity of all ``len(noise) * branch_size`` rows; the rows of a branch are consecutive.
        noise: Initial standard normal noise ``(rows, ...)``.
        grid: Times ``(steps + 1,)`` on the CPU, from 1 to 0.
        window: The stochastic steps.
        kernel: Their kernel.
        draw: Standard normal noise ``(len(noise) * branch_size, ...)`` for a step of the grid, by its number; called
            once for each step of the window.
        branch_size: Samples that share the steps before the window.
        prefix: The velocity of the rows of ``noise``, for the steps before the window; None for branches of 1.
        solver: Sampler of the deterministic steps; None for Euler's method.
        share_first: Whether the first stochastic step is also computed once for each branch: its samples start it from
            the same latents, and differ in their noise only. :func:`replay` then needs ``prefix``.

    Raises:
        PrismAudioError: The window does not fit the grid or the kernel, or ``prefix`` is missing.
    """
    _check(window, grid, kernel)
    if branch_size > 1 and (window.start > 0 or share_first) and prefix is None:
        raise PrismAudioError(
            f"branches of {branch_size} share the steps before {window.start}; pass their velocity as prefix"
        )
    share_size = branch_size if share_first and len(window) else 1
    solver = solver or EulerSampler()
    latents = solver.follow(prefix or velocity, noise.float(), grid[: window.start + 1]).float()
    latents = latents.repeat_interleave(branch_size, 0)
    states, means, stds = [latents], [], []
    for step in range(window.start, window.stop):
        if share_size > 1 and step == window.start:
            transition = _shared(prefix or velocity, latents, grid, step, kernel, share_size)
        else:
            transition = _transition(velocity, latents, grid, step, kernel)
        latents = transition.sample(draw(step).to(latents.device))
        states.append(latents)
        means.append(transition.mean)
        stds.append(transition.std)
    end = solver.follow(velocity, latents, grid[window.stop :]).float()
    if not len(window):
        return Rollout(window, grid, kernel, latents[None], latents[None][:0], latents.new_zeros(0, len(latents)), end)
    return Rollout(window, grid, kernel, torch.stack(states), torch.stack(means), torch.stack(stds), end, share_size)


def replay(velocity: Velocity, rollout: Rollout, index: int, prefix: Velocity | None = None) -> Transition:
    """Recompute the window's step ``index``, from 0, under the current policy from the same latents, with gradients.

    Before the first optimizer step it equals the step of the rollout: the probability ratio is 1.

    Args:
        velocity: The guided velocity of the rollout's rows.
        rollout: The rollout, or whole branches of it.
        index: Which step of the window.
        prefix: The guided velocity of one row of each branch, for a rollout whose first step was shared: the gradients
            of a branch are summed before they reach the network, so that the first step costs one sample a branch.

    Raises:
        PrismAudioError: The first step was shared, and ``prefix`` is missing.
    """
    step = rollout.window.start + index
    if rollout.share_size == 1 or index > 0:
        return _transition(velocity, rollout.states[index], rollout.grid, step, rollout.kernel)
    if prefix is None:
        raise PrismAudioError(f"branches of {rollout.share_size} share the step {step}; pass their velocity as prefix")
    return _shared(prefix, rollout.states[0], rollout.grid, step, rollout.kernel, rollout.share_size)


def _check(window: Window, grid: Tensor, kernel: TransitionKernel) -> None:
    """Validate that the steps of a window can be stochastic.

    Raises:
        PrismAudioError: They cannot.
    """
    steps, name = len(grid) - 1, type(kernel).__name__
    last = steps if kernel.stochastic_last_step else steps - 1
    if len(window) and not 0 <= window.start < window.stop <= last:
        raise PrismAudioError(
            f"steps {window.start} to {window.stop - 1} cannot all be stochastic with {name} and {steps} steps; choose "
            f"from 0 to {last - 1}"
        )
    times = grid[window.start : window.stop + 1].double()
    if not (kernel.step(times[:-1], times[1:]).std > 0).all():
        raise PrismAudioError(
            f"{name} has steps without noise, which have no density; use another kernel, or an empty window"
        )


def _shared(
    prefix: Velocity, latents: Tensor, grid: Tensor, step: int, kernel: TransitionKernel, share_size: int
) -> Transition:
    """A step of branches of equal latents, computed once for each branch."""
    one = _transition(prefix, latents[::share_size], grid, step, kernel)
    return Transition(one.mean.repeat_interleave(share_size, 0), one.std.repeat_interleave(share_size, 0))


def _transition(velocity: Velocity, latents: Tensor, grid: Tensor, step: int, kernel: TransitionKernel) -> Transition:
    t, t_next = grid[step].expand(len(latents)), grid[step + 1].expand(len(latents))
    return kernel.transition(velocity(latents, t), latents, t, t_next)
