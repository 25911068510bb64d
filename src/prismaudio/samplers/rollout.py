"""Rollouts: sampling with a window of stochastic steps, and replaying these steps with gradients.

All rows are sampled in lockstep: in each network evaluation every row takes the next step of its own trajectory. An
evaluation of many rows costs a GPU little more than one of few, so the number of evaluations is what counts: that of
the longest trajectory, however many trajectories there are.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from prismaudio.errors import PrismAudioError
from prismaudio.flow.kernels import Transition, TransitionKernel
from prismaudio.samplers.base import GridSampler, Velocity, on_device_of
from prismaudio.samplers.euler import EulerSampler

if TYPE_CHECKING:
    from collections.abc import Sequence

    from prismaudio.training.grpo.windows import Window

RowVelocity = Callable[[Tensor], Velocity]
"""Maps rows ``(rows,)`` of a rollout, numbers on the device of its latents, to the guided velocity of these rows."""


@dataclass(frozen=True, eq=False)
class Trajectory:
    """The times of a trajectory, and which of its steps are stochastic.

    Args:
        grid: Times ``(steps + 1,)`` on the CPU, from 1 to 0.
        window: The stochastic steps.
    """

    grid: Tensor
    window: Window


@dataclass(frozen=True, eq=False)
class Rollout:
    """Samples, and the stochastic steps that are needed to train on them.

    Rows are in the order of the noise, and the ``branch_size`` samples of one noise are consecutive: row
    ``b * branch_size + k``. Latents may have any number of dimensions after the first.

    Args:
        steps: Number of each stochastic step in the trajectory of its row, int64 ``(window, batch)`` on the CPU.
        bounds: Times ``(window + 1, batch)`` on the CPU before, between and after the stochastic steps.
        kernel: The kernel of the stochastic steps.
        states: Latents ``(window + 1, batch, ...)`` float32 before, between and after them.
        means: Means ``(window, batch, ...)`` of the steps under the policy that sampled them.
        stds: Their standard deviations ``(window, batch)``.
        latents: Latents ``(batch, ...)`` at time 0, to be decoded and scored.
        share_size: Consecutive rows whose first stochastic step was computed once for all of them; 1 where each row has
            its own.
        mask: True where a frame is real, bool ``(batch, frames)``; None where all are.
    """

    steps: Tensor
    bounds: Tensor
    kernel: TransitionKernel
    states: Tensor
    means: Tensor
    stds: Tensor
    latents: Tensor
    share_size: int = 1
    mask: Tensor | None = None

    def times(self, index: int) -> tuple[Tensor, Tensor]:
        """Times ``(batch,)`` on the CPU at the start and the end of the stochastic step ``index``, from 0."""
        return self.bounds[index], self.bounds[index + 1]

    def evaluated(self, index: int) -> int:
        """Every how many-th row the network is evaluated for at the stochastic step ``index``: 1 for all rows."""
        return 1 if index else self.share_size

    def transition(self, index: int) -> Transition:
        """The stochastic step ``index``, from 0, under the policy that sampled ``states[index + 1]``."""
        return Transition(self.means[index], self.stds[index], _of_elements(self.mask))

    def step(self, index: int) -> Rollout:
        """The stochastic step ``index``, from 0, as a rollout with this step alone."""
        one, ends = slice(index, index + 1), slice(index, index + 2)
        return replace(
            self,
            steps=self.steps[one],
            bounds=self.bounds[ends],
            states=self.states[ends],
            means=self.means[one],
            stds=self.stds[one],
            share_size=self.evaluated(index),
        )

    def rows(self, rows: Tensor) -> Rollout:
        """The rollout of some rows, by their numbers ``(rows,)`` on the CPU, in the given order."""
        if torch.equal(rows, torch.arange(len(self.latents))):
            return self
        there = on_device_of(self.latents, rows)
        return replace(
            self,
            steps=self.steps[:, rows],
            bounds=self.bounds[:, rows],
            states=self.states[:, there],
            means=self.means[:, there],
            stds=self.stds[:, there],
            latents=self.latents[there],
            mask=None if self.mask is None else self.mask[there],
        )

    def clone(self) -> Rollout:
        """The same rollout in memory of its own; steps, times and mask are shared."""
        return replace(self, **{name: getattr(self, name).clone() for name in ("states", "means", "stds", "latents")})

    def to(self, device: torch.device | str) -> Rollout:
        """Copy to another device; steps and times stay on the CPU."""
        moved = {name: getattr(self, name).to(device) for name in ("states", "means", "stds", "latents")}
        return replace(self, **moved, mask=None if self.mask is None else self.mask.to(device))


@torch.no_grad()
def rollout(
    velocity: RowVelocity,
    noise: Tensor,
    draws: Tensor,
    trajectories: Sequence[Trajectory],
    kernel: TransitionKernel,
    *,
    branch_size: int = 1,
    solver: GridSampler | None = None,
    share_first: bool = False,
    window_batch_size: int | None = None,
    mask: Tensor | None = None,
) -> Rollout:
    """Sample deterministically up to the window, branch, take stochastic steps in it, and finish deterministically.

    Each row has its own trajectory, and takes its next step in every evaluation; a row that is at the end of the
    deterministic steps leaves the batch, so that the network is evaluated no more often than for each row alone.
    Nothing depends on numbers on the device, so a GPU is never synchronized.

    Args:
        velocity: The velocity of any of the ``len(noise) * branch_size`` rows; called again only when the rows change.
            The steps that a branch shares are those of its first row.
        noise: Initial standard normal noise ``(branches, ...)``.
        draws: Standard normal noise ``(window, len(noise) * branch_size, ...)`` of the stochastic steps.
        trajectories: The trajectory of each branch; all windows have the same length.
        kernel: The kernel of the stochastic steps.
        branch_size: Samples that share the steps before the window.
        solver: Sampler of the deterministic steps, each of which depends on nothing before it; None for Euler's method.
        share_first: Whether the first stochastic step is also computed once for each branch: its samples start it from
            the same latents, and differ in their noise only.
        window_batch_size: Maximum number of rows of an evaluation in the window, so that a replay in batches of the
            same size computes the same numbers bit by bit; None for all.
        mask: True where a frame of the last dimension is real, bool ``(len(noise) * branch_size, frames)``, for the
            densities; None where all are.

    Raises:
        PrismAudioError: A window does not fit its grid or the kernel, or windows differ in length.
    """
    length = _check(trajectories, kernel)
    if solver is not None and type(solver).follow is not GridSampler.follow:
        raise PrismAudioError(
            f"steps of {type(solver).__name__} depend on earlier ones, which rows in lockstep do not have; use another "
            "solver, such as HeunSampler"
        )
    share_size = branch_size if share_first and length else 1
    solver, at = solver or EulerSampler(), _LastVelocity(velocity, noise)
    every = torch.arange(len(noise) * branch_size)
    first = every[::branch_size]
    heads = {one: one.grid[: one.window.start + 1] for one in trajectories}
    tails = {one: one.grid[one.window.stop :] for one in trajectories}
    bounds = torch.stack([one.grid[one.window.start : one.window.stop + 1] for one in trajectories], 1)
    bounds = bounds.repeat_interleave(branch_size, 1)
    steps = torch.tensor([list(one.window) for one in trajectories], dtype=torch.long).view(len(noise), length).T
    steps = steps.repeat_interleave(branch_size, 1)

    latents = _follow(at, first, noise.float(), [heads[one] for one in trajectories], solver).repeat_interleave(
        branch_size, 0
    )
    made = [(latents[None], latents[None][:0], latents.new_zeros(0, len(latents)))]
    if share_size > 1:
        once, few = latents[::branch_size], (draws[:1, ::branch_size], bounds[:2, ::branch_size])
        _, means, stds = _stochastic(at, first, once, *few, kernel, window_batch_size)
        shared = Transition(means[0].repeat_interleave(branch_size, 0), stds[0].repeat_interleave(branch_size, 0))
        latents = shared.sample(draws[0])
        made.append((latents[None], shared.mean[None], shared.std[None]))
    if length > len(made) - 1:
        own = len(made) - 1
        made.append(_stochastic(at, every, latents, draws[own:], bounds[own:], kernel, window_batch_size))
    states, means, stds = (torch.cat(parts) for parts in zip(*made, strict=True))
    end = _follow(at, every, states[-1], [tails[one] for one in trajectories for _ in range(branch_size)], solver)
    return Rollout(steps, bounds, kernel, states, means, stds, end, share_size, mask)


def n_evaluations(
    trajectories: Sequence[Trajectory],
    branch_size: int = 1,
    *,
    share_first: bool = False,
    window_batch_size: int | None = None,
) -> int:
    """How often :func:`rollout` evaluates the network, with Euler's method; for the arguments see there."""
    n_branches, length = len(trajectories), len(trajectories[0].window)
    n_rows = n_branches * branch_size
    own = length - 1 if share_first and branch_size > 1 and length else length
    stochastic = own * math.ceil(n_rows / (window_batch_size or n_rows))
    shared = (length - own) * math.ceil(n_branches / (window_batch_size or n_branches))
    head = max(one.window.start for one in trajectories)
    return head + shared + stochastic + max(len(one.grid) - 1 - one.window.stop for one in trajectories)


def n_samples(trajectories: Sequence[Trajectory], branch_size: int = 1, *, share_first: bool = False) -> int:
    """How many samples :func:`rollout` evaluates the network for, with Euler's method; for the arguments see there.

    Example:
        >>> from prismaudio.training.grpo.windows import Window
        >>> n_samples([Trajectory(torch.linspace(1, 0, 11), Window(4, 6))], branch_size=8)
        52
    """
    shared = int(share_first and branch_size > 1)
    total = 0
    for one in trajectories:
        first = shared if len(one.window) else 0
        total += one.window.start + first + branch_size * (len(one.grid) - 1 - one.window.start - first)
    return total


def replay(velocity: Velocity, rollout: Rollout, index: int) -> Transition:
    """Recompute the stochastic step ``index``, from 0, under the current policy from the same latents, with gradients.

    Before the first optimizer step it equals the step of the rollout: the probability ratio is 1.

    Args:
        velocity: The guided velocity of every ``rollout.evaluated(index)``-th row: where branches shared the step, it
            costs one sample a branch, and the gradients of the branch are summed before they reach the network.
        rollout: The rollout, or some rows of it; whole branches where these shared the step.
        index: Which of the stochastic steps.
    """
    each = rollout.evaluated(index)
    (t, t_next), latents = rollout.times(index), rollout.states[index]
    some = latents[::each], t[::each]
    made = rollout.kernel.transition(velocity(*some), *some, t_next[::each])
    if each > 1:
        made = Transition(made.mean.repeat_interleave(each, 0), made.std.repeat_interleave(each, 0))
    return replace(made, mask=_of_elements(rollout.mask))


class _LastVelocity:
    """The velocity of the rows that take part in a step, which is prepared anew only when these change.

    Args:
        velocity: The velocity of any rows.
        like: A tensor on the device of the latents.
    """

    def __init__(self, velocity: RowVelocity, like: Tensor) -> None:
        self._make, self._like = velocity, like
        self._rows = torch.empty(0, dtype=torch.long)
        self._velocity: Velocity | None = None

    def __call__(self, rows: Tensor) -> Velocity:
        if self._velocity is None or not torch.equal(rows, self._rows):
            self._velocity = None  # before the next one is prepared, which needs as much memory
            made = self._make(on_device_of(self._like, rows))
            self._rows, self._velocity = rows, made
            return made
        return self._velocity


def _follow(at: _LastVelocity, rows: Tensor, latents: Tensor, grids: Sequence[Tensor], solver: GridSampler) -> Tensor:
    """Integrate latents of some rows to the ends of their grids, in lockstep; a row at its end leaves the batch."""
    several = list({id(grid): grid for grid in grids}.values())  # most rows share theirs
    known = {id(grid): (place, len(grid) - 1) for place, grid in enumerate(several)}
    places, counts = zip(*[known[id(grid)] for grid in grids], strict=True)
    times = pad_sequence(several, batch_first=True)[list(places)]
    for start, stop in pairwise(sorted({0, *counts})):  # from one end to the next the same rows take part
        going = torch.tensor([row for row, count in enumerate(counts) if count > start])
        whole, there = len(going) == len(rows), on_device_of(latents, going)
        velocity, x = at(rows[going]), latents if whole else latents[there]
        span = times[going, start : stop + 1].T.contiguous()
        lengths = on_device_of(x, span.diff(dim=0)).view(stop - start, len(x), *[1] * (x.dim() - 1))
        for t, t_next, length in zip(span, span[1:], lengths, strict=False):
            x = (x + length * solver.mean_velocity(velocity, x, t, t_next)).float()
        latents = x if whole else latents.index_copy(0, there, x)
    return latents


def _stochastic(
    at: _LastVelocity,
    rows: Tensor,
    latents: Tensor,
    draws: Tensor,
    bounds: Tensor,
    kernel: TransitionKernel,
    batch_size: int | None,
) -> tuple[Tensor, Tensor, Tensor]:
    """Consecutive stochastic steps of some rows: latents after each ``(steps, rows, ...)``, means and deviations."""
    parts, size = [], batch_size or len(rows)
    batches = (rows.split(size), latents.split(size), draws.split(size, 1), bounds.split(size, 1))
    for some, start, noise, times in zip(*batches, strict=True):  # all steps of a batch: it is prepared once
        x, made = start, []
        for index in range(len(draws)):
            transition = kernel.transition(at(some)(x, times[index]), x, times[index], times[index + 1])
            x = transition.sample(noise[index])
            made.append((x, transition.mean, transition.std))
        parts.append([torch.stack(each) for each in zip(*made, strict=True)])
    states, means, stds = (torch.cat(each, 1) for each in zip(*parts, strict=True))
    return states, means, stds


def _of_elements(mask: Tensor | None) -> Tensor | None:
    """A mask of frames as one of elements of latents ``(batch, channels, frames)``."""
    return None if mask is None else mask[:, None]


def _check(trajectories: Sequence[Trajectory], kernel: TransitionKernel) -> int:
    """Validate that the steps of the windows can be stochastic, and return the length of the windows.

    Raises:
        PrismAudioError: They cannot.
    """
    lengths = {len(one.window) for one in trajectories}
    if len(lengths) != 1:
        found = ", ".join(map(str, sorted(lengths))) or "none"
        raise PrismAudioError(f"the windows of a rollout have lengths {found}; expected one length for all of them")
    name = type(kernel).__name__
    for one in dict.fromkeys(trajectories):
        grid, window = one.grid, one.window
        steps = len(grid) - 1
        last = steps if kernel.stochastic_last_step else steps - 1
        if len(window) and not 0 <= window.start < window.stop <= last:
            raise PrismAudioError(
                f"steps {window.start} to {window.stop - 1} cannot all be stochastic with {name} and {steps} steps; "
                f"choose from 0 to {last - 1}"
            )
        times = grid[window.start : window.stop + 1].double()
        if not (kernel.step(times[:-1], times[1:]).std > 0).all():
            raise PrismAudioError(
                f"{name} has steps without noise, which have no density; use another kernel, or an empty window"
            )
    return lengths.pop()
