"""Rolling out: sampling with a window of random steps, and computing these steps again with gradients."""

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
    """Candidates, and what is needed to train on the random steps that made them.

    Rows are in the order of the noise, the ``branches`` siblings of one noise beside each other: row
    ``b * branches + k``. Latents may have any number of dimensions after the first.

    Args:
        window: The random steps.
        grid: Times ``(steps + 1,)`` on the CPU.
        kernel: The kernel of the random steps.
        states: Latents ``(len(window) + 1, batch, ...)`` float32 before, between and after them.
        means: Means ``(len(window), batch, ...)`` of the steps of the policy that drew.
        stds: Their standard deviations ``(len(window), batch)``.
        latents: Latents ``(batch, ...)`` at time 0, to be decoded and judged.
        siblings: Rows beside each other whose first random step was computed once for all of them.
    """

    window: Window
    grid: Tensor
    kernel: TransitionKernel
    states: Tensor
    means: Tensor
    stds: Tensor
    latents: Tensor
    siblings: int = 1

    def times(self, index: int) -> tuple[Tensor, Tensor]:
        """Times ``(batch,)`` on the CPU at the beginning and the end of the window's step ``index``, from 0."""
        step = self.window.start + index
        batch = self.states.shape[1]
        return self.grid[step].expand(batch), self.grid[step + 1].expand(batch)

    def transition(self, index: int) -> Transition:
        """The window's step ``index``, from 0, of the policy that drew; it led to ``states[index + 1]``."""
        return Transition(self.means[index], self.stds[index])

    def rows(self, rows: slice | Tensor) -> Rollout:
        """Some of the candidates, in the order given."""
        return replace(
            self,
            states=self.states[:, rows],
            means=self.means[:, rows],
            stds=self.stds[:, rows],
            latents=self.latents[rows],
        )

    def to(self, device: torch.device | str) -> Rollout:
        """The same on another device; the times stay on the CPU."""
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
    branches: int = 1,
    prefix: Velocity | None = None,
    solver: GridSampler | None = None,
    share_first: bool = False,
) -> Rollout:
    """Sample deterministically up to the window, branch, take random steps in it, and go on deterministically.

    Args:
        velocity: The guided velocity of all ``len(noise) * branches`` rows, siblings beside each other.
        noise: Standard normal noise ``(rows, ...)`` to begin with.
        grid: Times ``(steps + 1,)`` on the CPU, from 1 to 0.
        window: The random steps.
        kernel: Their kernel.
        draw: Standard normal noise ``(len(noise) * branches, ...)`` for a step of the grid, by its number; called once
            for each step of the window.
        branches: Siblings that share what comes before the window.
        prefix: The velocity of the rows of ``noise``, followed before the window; None when there are no siblings.
        solver: How the deterministic steps are made; None for Euler's method.
        share_first: Whether the first random step, too, is computed once for all siblings: they begin it from the same
            latents, so that only their noise differs. :func:`replay` then needs ``prefix``.

    Raises:
        PrismAudioError: The window does not fit the grid or the kernel, or siblings have nothing to follow.
    """
    _check(window, grid, kernel)
    if branches > 1 and (window.start > 0 or share_first) and prefix is None:
        raise PrismAudioError(
            f"{branches} branches share the steps before {window.start}; give their velocity as prefix"
        )
    siblings = branches if share_first and len(window) else 1
    solver = solver or EulerSampler()
    latents = solver.follow(prefix or velocity, noise.float(), grid[: window.start + 1]).float()
    latents = latents.repeat_interleave(branches, 0)
    states, means, stds = [latents], [], []
    for step in range(window.start, window.stop):
        if siblings > 1 and step == window.start:
            transition = _shared(prefix or velocity, latents, grid, step, kernel, siblings)
        else:
            transition = _transition(velocity, latents, grid, step, kernel)
        latents = transition.sample(draw(step).to(latents.device))
        states.append(latents)
        means.append(transition.mean)
        stds.append(transition.std)
    end = solver.follow(velocity, latents, grid[window.stop :]).float()
    if not len(window):
        return Rollout(window, grid, kernel, latents[None], latents[None][:0], latents.new_zeros(0, len(latents)), end)
    return Rollout(window, grid, kernel, torch.stack(states), torch.stack(means), torch.stack(stds), end, siblings)


def replay(velocity: Velocity, rollout: Rollout, index: int, prefix: Velocity | None = None) -> Transition:
    """The window's step ``index``, from 0, of the policy as it is now, from the same latents, with gradients.

    Before the first update it is exactly the step that was made: the ratio of the densities is 1.

    Args:
        velocity: The guided velocity of the rollout's rows.
        rollout: What was made.
        index: Which step of the window.
        prefix: The guided velocity of one of each family of siblings, for a rollout (or whole families of it) whose
            first step was shared: their gradients are added up before the network sees them, so that the first step
            costs one sample a family.

    Raises:
        PrismAudioError: The first step was shared, and there is no prefix.
    """
    step = rollout.window.start + index
    if rollout.siblings == 1 or index > 0:
        return _transition(velocity, rollout.states[index], rollout.grid, step, rollout.kernel)
    if prefix is None:
        raise PrismAudioError(f"{rollout.siblings} siblings share the step {step}; give their velocity as prefix")
    return _shared(prefix, rollout.states[0], rollout.grid, step, rollout.kernel, rollout.siblings)


def _check(window: Window, grid: Tensor, kernel: TransitionKernel) -> None:
    """See that the steps of a window can be random.

    Raises:
        PrismAudioError: They cannot.
    """
    steps, name = len(grid) - 1, type(kernel).__name__
    last = steps if kernel.random_to_the_end else steps - 1
    if len(window) and not 0 <= window.start < window.stop <= last:
        raise PrismAudioError(
            f"steps {window.start} to {window.stop - 1} cannot all be random with {name} and {steps} steps; choose "
            f"from 0 to {last - 1}"
        )
    times = grid[window.start : window.stop + 1].double()
    if not (kernel.step(times[:-1], times[1:]).std > 0).all():
        raise PrismAudioError(
            f"{name} has steps without noise, which have no density; give another kernel, or no window"
        )


def _shared(
    prefix: Velocity, latents: Tensor, grid: Tensor, step: int, kernel: TransitionKernel, siblings: int
) -> Transition:
    """The step of families of equal latents, computed for one of each."""
    one = _transition(prefix, latents[::siblings], grid, step, kernel)
    return Transition(one.mean.repeat_interleave(siblings, 0), one.std.repeat_interleave(siblings, 0))


def _transition(velocity: Velocity, latents: Tensor, grid: Tensor, step: int, kernel: TransitionKernel) -> Transition:
    now, later = grid[step].expand(len(latents)), grid[step + 1].expand(len(latents))
    return kernel.transition(velocity(latents, now), latents, now, later)
