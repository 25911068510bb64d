"""One run of the reinforcement-learning benchmark: a method, a learning rate and a seed."""

from __future__ import annotations

import time
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from prismaudio.benchmark.rl_methods import GROUP
from prismaudio.benchmark.rl_world import CLASSES, WEIGHTS, WIDTH, total
from prismaudio.flow.kernels import EulerMaruyamaKernel
from prismaudio.flow.randomness import normal
from prismaudio.flow.times import uniform_grid
from prismaudio.grpo.windows import AllSteps
from prismaudio.samplers.euler import EulerSampler
from prismaudio.samplers.rollout import Rollout, replay, rollout

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import nn

    from prismaudio.benchmark.rl_methods import Method
    from prismaudio.benchmark.rl_world import VelocityNetwork, World
    from prismaudio.grpo.windows import Window

EVALUATION_STEPS, EVALUATION_SAMPLES = 24, 1024
EVERY = 4
"""Updates between evaluations."""


@dataclass(frozen=True)
class Point:
    """How good a policy is after so many updates.

    Args:
        update: Updates so far.
        nfe: Samples that the network was evaluated for so far, a backward pass counting as two evaluations.
        cpu_s: CPU seconds of the updates so far.
        reward: Mean weighted reward of the evaluation samples.
    """

    update: float
    nfe: float
    cpu_s: float
    reward: float


@dataclass
class Course:
    """What became of a policy.

    Args:
        points: Every few updates, the first before any.
        rewards: Mean of each reward in the end.
        kl: Divergence from the base policy in the end, in nats a sample: along whole random trajectories, so an upper
            bound of that of the samples.
        variance_ratio: Variance of the samples within their class in the end, over that of the base's.
    """

    points: list[Point] = field(default_factory=list)
    rewards: dict[str, float] = field(default_factory=dict)
    kl: float = 0.0
    variance_ratio: float = 1.0

    @classmethod
    def from_dict(cls, told: dict[str, Any]) -> Course:
        """What :func:`dataclasses.asdict` made of one."""
        return cls(**told | {"points": [Point(**point) for point in told["points"]]})

    def first(self, reward: float) -> Point | None:
        """Where a reward was reached first, between two points on a straight line; None where it was not.

        Example:
            >>> Course([Point(0, 0, 0.0, 1.0), Point(4, 80, 1.0, 2.0)]).first(1.5)
            Point(update=2.0, nfe=40.0, cpu_s=0.5, reward=1.5)
        """
        for before, after in pairwise(self.points):
            if after.reward >= reward:
                share = (reward - before.reward) / (after.reward - before.reward)
                return _between(before, after, share)
        return None

    def final(self, updates: int) -> float:
        """The reward after so many updates, a multiple of those between evaluations."""
        return next(point.reward for point in self.points if point.update == updates)

    def at(self, nfe: float) -> float | None:
        """The reward after so many evaluations of the network; None where the run was over before."""
        for before, after in pairwise(self.points):
            if after.nfe >= nfe:
                return _between(before, after, (nfe - before.nfe) / (after.nfe - before.nfe)).reward
        return None


def _between(before: Point, after: Point, share: float) -> Point:
    def mixed(name: str) -> float:
        start, end = getattr(before, name), getattr(after, name)
        return start + share * (end - start)

    return Point(mixed("update"), mixed("nfe"), mixed("cpu_s"), mixed("reward"))


class Counter:
    """Counts what a network is evaluated for, by hooks on it: a sample forward is 1, its backward pass 2."""

    def __init__(self, network: nn.Module) -> None:
        self.count = 0
        self._paused = False
        network.register_forward_hook(self._forward)

    def _forward(self, network: nn.Module, given: tuple[Tensor, ...], velocity: Tensor) -> None:
        if self._paused:
            return
        self.count += len(velocity)
        if velocity.requires_grad:
            velocity.register_hook(self._backward)

    def _backward(self, gradient: Tensor) -> None:
        self.count += 2 * len(gradient)

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Does not count inside."""
        self._paused = True
        try:
            yield
        finally:
            self._paused = False


@dataclass
class Trainer:
    """Trains copies of a base policy in a world.

    Args:
        world: What is rewarded.
        base: The policy to begin with.
    """

    world: World
    base: VelocityNetwork

    def run(self, method: Method, learning_rate: float, seed: int, updates: int, budget: float = 0) -> Course:
        """One run.

        Args:
            method: How to train.
            learning_rate: Of AdamW.
            seed: Of everything random.
            updates: How many updates; what is said about the end is said after them.
            budget: Go on after them until so many evaluations of the network.
        """
        network = deepcopy(self.base)
        counter = Counter(network)
        optimizer = torch.optim.AdamW(network.parameters(), learning_rate)
        course, cpu_s, update = Course(), 0.0, 0
        while True:
            with counter.paused():
                if update % EVERY == 0:
                    rewards = self._means(network)
                    reward = sum(WEIGHTS[name] * value for name, value in rewards.items())
                    course.points.append(Point(update, counter.count, cpu_s, reward))
                if update == updates:
                    course.rewards = rewards
                    course.kl, course.variance_ratio = self._kl(network), self._variance(network) / self._variance()
            if update >= updates and update % EVERY == 0 and counter.count >= budget:
                return course
            start_s = time.process_time()
            self._update(network, optimizer, method, seed, update)
            cpu_s += time.process_time() - start_s
            update += 1

    def _update(
        self, network: VelocityNetwork, optimizer: torch.optim.Optimizer, method: Method, seed: int, update: int
    ) -> None:
        """Roll out, judge, replay, step."""
        windows = method.windows(seed, update, CLASSES)
        classes = torch.tensor([group for groups in windows.values() for group in groups]).repeat_interleave(GROUP)
        made = [_rolled(network, method, window, groups, (seed, update)) for window, groups in windows.items()]
        rewards = self.world.rewards(torch.cat([part.latents for part in made]), classes)
        advantages = method.advantage.estimate(rewards, classes, WEIGHTS)
        sizes = [len(part.latents) for part in made]
        optimizer.zero_grad()
        for part, mine, own in zip(made, classes.split(sizes), advantages.split(sizes), strict=True):
            velocity, prefix = network.given(mine), network.given(mine[:: method.branches])
            weights = method.weighting.weights(method.kernel, uniform_grid(method.steps), part.window)
            for index, weight in enumerate(weights):
                new = replay(velocity, part, index, prefix)
                loss = method.loss.loss(new, part.transition(index), part.states[index + 1], own)[0]
                (weight * loss.sum() / (len(classes) * len(weights))).backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()

    @torch.no_grad()
    def samples(self, network: VelocityNetwork) -> tuple[Tensor, Tensor]:
        """Evaluation samples ``(1024, 16, 1)`` of a policy, from noise that is always the same, and their classes."""
        classes = torch.arange(EVALUATION_SAMPLES) % CLASSES
        noise = normal((EVALUATION_SAMPLES, WIDTH, 1), "evaluation")
        return EulerSampler(EVALUATION_STEPS).sample(network.given(classes), noise), classes

    def _means(self, network: VelocityNetwork) -> dict[str, float]:
        return {name: float(reward.mean()) for name, reward in self.world.rewards(*self.samples(network)).items()}

    def reward(self, network: VelocityNetwork | None = None) -> float:
        """Mean weighted reward of a policy's evaluation samples; None for the base policy."""
        return float(total(self.world.rewards(*self.samples(network or self.base))).mean())

    def _variance(self, network: VelocityNetwork | None = None) -> float:
        latents, classes = self.samples(network or self.base)
        return float(torch.stack([latents[classes == c].var(0).sum() for c in range(CLASSES)]).mean())

    @torch.no_grad()
    def _kl(self, network: VelocityNetwork) -> float:
        classes = torch.arange(256) % CLASSES
        grid = uniform_grid(EVALUATION_STEPS)
        made = rollout(
            network.given(classes),
            normal((256, WIDTH, 1), "divergence"),
            grid,
            AllSteps().window(EVALUATION_STEPS, 0, 0),
            EulerMaruyamaKernel(0.7),
            lambda step: normal((256, WIDTH, 1), "divergence", step),
        )
        base = self.base.given(classes)
        steps = range(len(made.window))
        return float(sum(made.transition(i).kl(replay(base, made, i), "sum").mean() for i in steps))


def _rolled(
    network: VelocityNetwork, method: Method, window: Window, groups: list[int], key: tuple[int, int]
) -> Rollout:
    """The candidates of the groups that have this window; their noise does not depend on which these are."""
    classes = torch.tensor(groups).repeat_interleave(GROUP)
    noise = _noise(groups, 1 if method.same_start else GROUP // method.branches, *key)
    if method.same_start:
        noise = noise.repeat_interleave(GROUP // method.branches, 0)
    return rollout(
        network.given(classes),
        noise,
        method.grid(window),
        window,
        method.kernel,
        lambda step: _noise(groups, GROUP, *key, step),
        branches=method.branches,
        prefix=network.given(classes[:: method.branches]),
        share_first=method.share_first,
    )


def _noise(groups: list[int], n_rows: int, *key: int) -> Tensor:
    """Noise ``(len(groups) * n_rows, 16, 1)``."""
    return normal((CLASSES * n_rows, WIDTH, 1), *key).view(CLASSES, n_rows, WIDTH, 1)[groups].flatten(0, 1)
