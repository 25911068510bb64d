"""Options of Fast-GRPO, in three groups: how candidates are rolled out, how the policy is updated, how it is scored."""

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
        group_size: Candidates of a clip, 2 or more; advantages are relative to their group.
        branch_size: Consecutive candidates of a group that start from the same noise and share the steps before the
            window, a divisor of ``group_size``; None for the whole group.
        share_first: Compute the first stochastic step, which the candidates of a branch start from the same latents,
            once for each branch, in training as well; it lowers the cost and changes nothing else.
        num_steps: Steps of a trajectory.
        grid: Times of the trajectory: ``uniform``, or ``release``, which ends with a step of 0.001.
        max_tail_steps: Steps after the window at most, longer than those of the grid; None for those of the grid.
        window: The stochastic steps, which are the ones that are trained; None for ``RandomWindow``, two consecutive
            steps at a random position, as in the paper.
        kernel: Transition of a stochastic step; None for ``EulerMaruyamaKernel`` with ``noise_level`` 0.7, as in the
            paper.
        rollout_batch_size: Clips whose candidates are sampled together.
        split_groups: Spread each group over all processes instead of whole groups; each process then samples
            candidates of the clips of all processes.
    """

    group_size: int = 16
    branch_size: int | None = None
    share_first: bool = True
    num_steps: int = 24
    grid: Literal["uniform", "release"] = "uniform"
    max_tail_steps: int | None = None
    window: WindowSchedule | None = None
    kernel: TransitionKernel | None = None
    rollout_batch_size: int = 1
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
        kl_coef: Coefficient of the divergence from the reference model, which is the model before training; with 0 no
            reference model is kept.
        kl_form: Form of the divergence.
        num_inner_epochs: Optimizer steps with each rollout.
        train_top_k: Candidates of each group that are trained on, those with the largest absolute advantages (of each
            process's share of the group); None for all.
        train_micro_batch_size: Candidates that are replayed together; None for all that were sampled together.
        max_grad_norm: Largest norm of the gradient; a larger gradient is scaled down.
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
        advantage: From the rewards of a group to advantages; None for ``WeightedSumAdvantage``, the weighted sum in
            standard deviations of the group.
        peaks: ``sample`` lowers each candidate that is too loud by its own peak; ``batch`` divides all that were
            sampled together by their common peak, as the released code does.
        cache: Folder for what rewards prepare of a clip, by content; ``auto`` for PrismAudio's cache, None for none.
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
