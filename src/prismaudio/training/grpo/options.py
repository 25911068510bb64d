"""Options of Fast-GRPO, in three groups: how candidates are sampled, trained on and scored."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from prismaudio.errors import RecipeError
from prismaudio.flow.kernels import TransitionKernel
from prismaudio.rewards.base import Reward
from prismaudio.training.grpo.advantages import AdvantageEstimator
from prismaudio.training.grpo.divergence import Divergence
from prismaudio.training.grpo.losses import PolicyLoss
from prismaudio.training.grpo.reward_weights import RewardWeight
from prismaudio.training.grpo.weighting import StepWeighting
from prismaudio.training.grpo.windows import RandomWindow, WindowSchedule


@dataclass(frozen=True)
class RolloutOptions:
    """How candidates are sampled.

    Args:
        group_size: Candidates per clip, 2 or more (TRL: ``num_generations``); advantages are relative to the group.
        branch_size: Consecutive candidates of a group that start from the same noise and share the steps before the
            window, a divisor of ``group_size``; None for the whole group.
        share_first: Evaluate the network once per branch at the first stochastic step, where the latents of its
            candidates are equal, in sampling and in training; lowers the cost without changing the result.
        num_steps: Steps of a trajectory.
        grid: Times of the trajectory: ``uniform``, or ``release``, which ends with a step of 0.001.
        max_tail_steps: Maximum number of steps after the window, longer than those of the grid; None for the grid.
        window: Schedule of the stochastic steps; only these are trained. None for ``RandomWindow``, two consecutive
            steps at a random position, as in the paper.
        kernel: Transition of a stochastic step; None for ``EulerMaruyamaKernel`` with ``noise_level`` 0.7, as in the
            paper.
        rollout_batch_size: Maximum number of clips whose candidates are sampled together. None for all clips of an
            update on a GPU, which needs the fewest evaluations of the network and the most memory, and for one on a
            CPU, where several take as long together as one after the other.
        split_groups: Split each group over all processes, instead of giving each process whole groups; each process
            then samples candidates for the clips of all processes.
    """

    group_size: int = 16
    branch_size: int | None = None
    share_first: bool = True
    num_steps: int = 24
    grid: Literal["uniform", "release"] = "uniform"
    max_tail_steps: int | None = None
    window: WindowSchedule | None = None
    kernel: TransitionKernel | None = None
    rollout_batch_size: int | None = None
    split_groups: bool = False

    def __post_init__(self) -> None:
        _at_least(2, group_size=self.group_size)
        _at_least(
            1,
            branch_size=self.branch_size,
            num_steps=self.num_steps,
            max_tail_steps=self.max_tail_steps,
            rollout_batch_size=self.rollout_batch_size,
        )
        if self.group_size % (self.branch_size or 1):
            raise RecipeError(f"branch_size {self.branch_size} does not divide group_size {self.group_size}")
        (self.window or RandomWindow()).window(self.num_steps, 0, 0)  # raises if the trajectory is too short


@dataclass(frozen=True)
class PolicyOptions:
    """How the policy is updated with the candidates of a rollout.

    Args:
        loss: Policy loss; None for ``ClippedLoss``, PPO's clipped ratio.
        weighting: Weights of the steps and of their divergence; None for ``UniformWeighting``.
        kl_coef: Coefficient of the KL divergence from the model before training (TRL: ``beta``); 0 keeps no reference
            model.
        kl_form: Form of the KL divergence.
        num_inner_epochs: Optimizer steps per rollout (TRL: ``num_iterations``).
        train_top_k: Number of candidates per group to train on, those with the largest absolute advantages (within
            each process's share of a split group); None for all.
        train_micro_batch_size: Maximum number of samples per backward pass, of one or several clips; a branch that
            shares a step counts as one sample. None for as many as there are candidates of a clip; more need fewer
            passes and more memory. The stochastic steps are sampled in equal batches, so that their replay is exact.
        max_grad_norm: Maximum norm of the gradient; larger gradients are scaled down.
    """

    loss: PolicyLoss | None = None
    weighting: StepWeighting | None = None
    kl_coef: float = 0.0
    kl_form: Divergence = "exact"
    num_inner_epochs: int = 1
    train_top_k: int | None = None
    train_micro_batch_size: int | None = None
    max_grad_norm: float = 1.0

    def __post_init__(self) -> None:
        _at_least(
            1,
            num_inner_epochs=self.num_inner_epochs,
            train_top_k=self.train_top_k,
            train_micro_batch_size=self.train_micro_batch_size,
        )
        _at_least(0, kl_coef=self.kl_coef, max_grad_norm=self.max_grad_norm)


@dataclass(frozen=True)
class RewardOptions:
    """How candidates are scored, and how rewards become advantages.

    Args:
        weights: Weight of each reward, a number or a
            :class:`prismaudio.training.grpo.reward_weights.RewardWeight`; 1 for rewards that are not named.
        held_out: Rewards by name that are evaluated in validation and never optimized.
        advantage: Estimator of advantages from rewards; None for ``WeightedSumAdvantage``, the weighted sum of rewards
            normalized by mean and standard deviation of the group.
        peaks: Level of the audio before scoring: ``sample`` attenuates each candidate that exceeds -1 dB; ``batch``
            divides all candidates of a clip by their common peak, as the released code does.
        cache: Folder of prepared caches of the rewards; ``auto`` for PrismAudio's cache folder, None to store none.
    """

    weights: dict[str, float | RewardWeight] = field(default_factory=dict)
    held_out: dict[str, Reward] = field(default_factory=dict)
    advantage: AdvantageEstimator | None = None
    peaks: Literal["sample", "batch"] = "sample"
    cache: str | None = "auto"


def _at_least(lowest: int, **numbers: float | None) -> None:
    for name, number in numbers.items():
        if number is not None and not number >= lowest:
            raise RecipeError(f"{name} is {number}; expected {lowest} or more")
