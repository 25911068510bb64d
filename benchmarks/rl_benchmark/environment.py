"""What the reinforcement-learning benchmark compares methods on."""

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
    from rl_benchmark.learning_curve import LearningCurve
    from rl_benchmark.methods import Method


class Environment(Configured, ABC):
    """Policies, rewards, and how a run goes. It must be picklable: every process prepares its own."""

    name: ClassVar[str]
    weights: ClassVar[Mapping[str, float]]
    """Of the rewards, by name."""
    every: ClassVar[int]
    """Updates between evaluations."""
    budgets: ClassVar[tuple[int, ...]]
    """Evaluations of the network after which rewards are compared."""

    @abstractmethod
    def prepare(self, on_step: Callable[[int, int], None] = lambda *_: None) -> None:
        """Get ready to run; what is ready is kept on disk.

        Args:
            on_step: Called with how much is done and how much there is.
        """

    @abstractmethod
    def run(self, method: Method, learning_rate: float, seed: int, updates: int, budget: float = 0) -> LearningCurve:
        """One run.

        Args:
            method: How to train.
            learning_rate: Of AdamW.
            seed: Of everything random in training; evaluation is always the same.
            updates: Number of updates; final statistics are those after them.
            budget: Go on after them until so many evaluations of the network.
        """


@torch.no_grad()
def path_divergence(policy: Velocity, base: Velocity, shape: tuple[int, ...], steps: int) -> float:
    """Divergence of a policy from its base in nats a sample, along whole random trajectories.

    That is an upper bound of the divergence of the samples.

    Args:
        policy: Its velocity.
        base: That of the base.
        shape: Of the latents, ``(batch, ...)``.
        steps: Steps of the trajectories.
    """
    window = AllSteps().window(steps, 0, 0)
    noise = normal(shape, "divergence")
    kernel = EulerMaruyamaKernel(0.7)
    made = rollout(policy, noise, uniform_grid(steps), window, kernel, lambda step: normal(shape, "divergence", step))
    return float(sum(made.transition(i).kl(replay(base, made, i), "sum").mean() for i in range(len(window))))
