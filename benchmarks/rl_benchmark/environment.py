"""Interface of the environments on which the reinforcement-learning benchmark compares methods."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, ClassVar

import torch

from prismaudio.checkpoints import Configured
from prismaudio.flow.kernels import EulerMaruyamaKernel
from prismaudio.flow.randomness import normal
from prismaudio.flow.times import uniform_grid
from prismaudio.samplers.rollout import Trajectory, replay, rollout
from prismaudio.training.grpo.windows import AllSteps

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from prismaudio.samplers.base import Velocity
    from rl_benchmark.learning_curve import LearningCurve
    from rl_benchmark.methods import Method


class Environment(Configured, ABC):
    """A base policy, rewards and a training loop. It must be picklable; every process prepares its own copy."""

    name: ClassVar[str]
    weights: ClassVar[Mapping[str, float]]
    """Weight of each reward, by name."""
    every: ClassVar[int]
    """Updates between evaluations."""
    budgets: ClassVar[tuple[int, ...]]
    """Numbers of network evaluations after which rewards are compared."""

    @abstractmethod
    def prepare(self, on_step: Callable[[int, int], None] = lambda *_: None) -> None:
        """Prepare the base policy or the data, cached on disk.

        Args:
            on_step: Called with (finished steps, total steps).
        """

    @abstractmethod
    def run(self, method: Method, learning_rate: float, seed: int, updates: int, budget: float = 0) -> LearningCurve:
        """Train and evaluate a policy once.

        Args:
            method: The method.
            learning_rate: Learning rate of AdamW.
            seed: Seed of training; evaluation uses fixed noise.
            updates: Number of updates after which the final statistics are computed.
            budget: Minimum number of network evaluations; training continues until it is reached.
        """


@torch.no_grad()
def path_divergence(policy: Velocity, base: Velocity, shape: tuple[int, ...], steps: int) -> float:
    """KL divergence of a policy from its base in nats per sample, along fully stochastic trajectories.

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
    draws = torch.stack([normal(shape, "divergence", step) for step in window])
    trajectories = [Trajectory(uniform_grid(steps), window)] * len(noise)
    made = rollout(lambda _: policy, noise, draws, trajectories, kernel)
    return float(sum(made.transition(i).kl(replay(base, made, i), "sum").mean() for i in range(len(window))))
