"""The toy environment of the reinforcement-learning benchmark, in which a run takes seconds."""

from __future__ import annotations

import time
from copy import deepcopy
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from prismaudio.flow.randomness import normal
from prismaudio.samplers.euler import EulerSampler
from prismaudio.samplers.rollout import Rollout, Trajectory, rollout
from prismaudio.training.grpo.update import ReplayBatch, accumulate_gradients, micro_batches
from rl_benchmark.environment import Environment, path_divergence
from rl_benchmark.learning_curve import Counter, LearningCurve, Point
from rl_benchmark.methods import GROUP
from rl_benchmark.world import CLASSES, PRETRAINING_STEPS, WEIGHTS, WIDTH, World, pretrained

if TYPE_CHECKING:
    from collections.abc import Callable

    from prismaudio.training.grpo.windows import Window
    from rl_benchmark.methods import Method
    from rl_benchmark.world import VelocityNetwork

EVALUATION_STEPS, EVALUATION_SAMPLES = 24, 1024


class SmallEnvironment(Environment):
    """Post-trains copies of a small flow model, see :class:`rl_benchmark.world.World`.

    Args:
        pretraining: Number of flow-matching steps of the base policy.
    """

    name = "small"
    weights = WEIGHTS
    every = 4
    budgets = (25_000, 50_000, 100_000)

    def __init__(self, pretraining: int = PRETRAINING_STEPS) -> None:
        self.pretraining, self.world = pretraining, World()

    def prepare(self, on_step: Callable[[int, int], None] = lambda *_: None) -> None:
        """Train the base policy, or load it from the cache."""
        self.base = pretrained(self.pretraining, on_step)

    def run(self, method: Method, learning_rate: float, seed: int, updates: int, budget: float = 0) -> LearningCurve:
        """See :class:`Environment`."""
        network = deepcopy(self.base)
        counter = Counter(network)
        optimizer = torch.optim.AdamW(network.parameters(), learning_rate)
        curve, cpu_s, update = LearningCurve(), 0.0, 0
        while True:
            if update % self.every == 0:
                rewards = self._means(network)
                reward = sum(self.weights[name] * value for name, value in rewards.items())
                curve.points.append(Point(update, counter.count, cpu_s, reward))
            if update == updates:
                curve.rewards = rewards
                curve.kl, curve.variance_ratio = (
                    self._kl(network),
                    self._variance(network) / self._variance(self.base),
                )
            if update >= updates and update % self.every == 0 and counter.count >= budget:
                return curve
            counter.counting, start_s = True, time.process_time()
            self._update(network, optimizer, method, seed, update)
            cpu_s += time.process_time() - start_s
            counter.counting = False
            update += 1

    def _update(
        self, network: VelocityNetwork, optimizer: torch.optim.Optimizer, method: Method, seed: int, update: int
    ) -> None:
        """Roll out, score, replay, and step the optimizer."""
        optimizer.zero_grad()
        self.accumulate(network, method, seed, update)
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()

    def accumulate(self, network: VelocityNetwork, method: Method, seed: int, update: int) -> None:
        """Accumulate the gradient of an update."""
        batches, advantages = self.draw(network, method, seed, update)
        accumulate_gradients(micro_batches(batches, advantages), method.objective)

    def draw(
        self, network: VelocityNetwork, method: Method, seed: int, update: int
    ) -> tuple[list[ReplayBatch], Tensor]:
        """The candidates of an update, and their advantages ``(batch,)``."""
        classes = torch.arange(CLASSES).repeat_interleave(GROUP)
        made = _rolled(network, method, method.windows(seed, update, CLASSES), (seed, update))
        advantages = method.advantage.estimate(self.world.rewards(made.latents, classes), classes, WEIGHTS)
        return [ReplayBatch(made, classes, network.rows(classes))], advantages

    @torch.no_grad()
    def samples(self, network: VelocityNetwork) -> tuple[Tensor, Tensor]:
        """Evaluation samples ``(1024, 16, 1)`` of a policy, from fixed noise, and their classes."""
        classes = torch.arange(EVALUATION_SAMPLES) % CLASSES
        noise = normal((EVALUATION_SAMPLES, WIDTH, 1), "evaluation")
        return EulerSampler(EVALUATION_STEPS).sample(network.given(classes), noise), classes

    def _means(self, network: VelocityNetwork) -> dict[str, float]:
        return {name: float(reward.mean()) for name, reward in self.world.rewards(*self.samples(network)).items()}

    def _variance(self, network: VelocityNetwork) -> float:
        latents, classes = self.samples(network)
        return float(torch.stack([latents[classes == c].var(0).sum() for c in range(CLASSES)]).mean())

    def _kl(self, network: VelocityNetwork) -> float:
        classes = torch.arange(256) % CLASSES
        return path_divergence(network.given(classes), self.base.given(classes), (256, WIDTH, 1), EVALUATION_STEPS)


def _rolled(network: VelocityNetwork, method: Method, windows: list[Window], key: tuple[int, int]) -> Rollout:
    """Candidates of all groups, each with its window."""
    branches = GROUP // method.branch_size
    noise = _noise(1 if method.same_start else branches, *key)
    if method.same_start:
        noise = noise.repeat_interleave(branches, 1)
    drawn = {step: _noise(GROUP, *key, step) for step in {step for window in windows for step in window}}
    trajectories = {window: Trajectory(method.grid(window), window) for window in windows}
    draws = [torch.stack([drawn[step][group] for step in window]) for group, window in enumerate(windows)]
    return rollout(
        network.rows(torch.arange(CLASSES).repeat_interleave(GROUP)),
        noise.flatten(0, 1),
        torch.cat(draws, 1),
        [trajectories[window] for window in windows for _ in range(branches)],
        method.kernel,
        branch_size=method.branch_size,
        share_first=method.share_first,
    )


def _noise(n_rows: int, *key: int) -> Tensor:
    """Noise ``(CLASSES, n_rows, 16, 1)``."""
    return normal((CLASSES * n_rows, WIDTH, 1), *key).view(CLASSES, n_rows, WIDTH, 1)
