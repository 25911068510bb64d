"""The tasks on which the reinforcement-learning benchmark compares methods."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, ClassVar

import torch

from prismaudio.checkpoints import Configured
from prismaudio.flow.kernels import EulerMaruyamaKernel
from prismaudio.flow.randomness import normal
from prismaudio.flow.times import uniform_grid
from prismaudio.samplers.rollout import replay, rollout
from prismaudio.training.grpo.windows import AllSteps

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from prismaudio.samplers.base import Velocity
    from rl_benchmark.course import Course
    from rl_benchmark.methods import Method


class Tier(Configured, ABC):
    """Base policy, rewards and training loop of a benchmark. It must be picklable: every process prepares its own."""

    name: ClassVar[str]
    weights: ClassVar[Mapping[str, float]]
    """Weights of the rewards, by name."""
    every: ClassVar[int]
    """Updates between evaluations."""
    budgets: ClassVar[tuple[int, ...]]
    """Numbers of network evaluations at which rewards are compared."""

    @abstractmethod
    def prepare(self, on_step: Callable[[int, int], None] = lambda *_: None) -> None:
        """Prepare the data and the base policy, cached on disk.

        Args:
            on_step: Called with (steps done, total).
        """

    @abstractmethod
    def run(self, method: Method, learning_rate: float, seed: int, updates: int, budget: float = 0) -> Course:
        """Train a policy.

        Args:
            method: The training method.
            learning_rate: Learning rate of AdamW.
            seed: Seed of training; evaluation uses fixed noise.
            updates: Number of updates after which the final rewards, divergence and variance are measured.
            budget: Continue after these updates up to this number of network evaluations.
        """


@torch.no_grad()
def path_divergence(policy: Velocity, base: Velocity, shape: tuple[int, ...], steps: int) -> float:
    """Divergence of a policy from its base policy in nats per sample, over whole stochastic trajectories.

    It is an upper bound of the divergence of the samples.

    Args:
        policy: Velocity of the policy.
        base: Velocity of the base policy.
        shape: Shape of the latents, ``(batch, ...)``.
        steps: Number of steps of the trajectories.
    """
    window = AllSteps().window(steps, 0, 0)
    noise = normal(shape, "divergence")
    kernel = EulerMaruyamaKernel(0.7)
    made = rollout(policy, noise, uniform_grid(steps), window, kernel, lambda step: normal(shape, "divergence", step))
    return float(sum(made.transition(i).kl(replay(base, made, i), "sum").mean() for i in range(len(window))))
