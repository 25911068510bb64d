"""One policy update: the stochastic steps of the candidates are replayed, and their gradients are accumulated.

It does not depend on the network or the trainer. A micro-batch is one stochastic step of some candidates, as many as
fit into memory; the gradients of all micro-batches add up to that of the mean over candidates and steps.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from prismaudio.samplers.rollout import Rollout, replay
from prismaudio.training.grpo.divergence import Divergence, divergence
from prismaudio.training.grpo.losses import PolicyLoss
from prismaudio.training.grpo.weighting import StepWeighting

if TYPE_CHECKING:
    from collections.abc import Sequence

    from prismaudio.flow.kernels import Transition
    from prismaudio.samplers.base import Velocity

RowVelocity = Callable[[Tensor], "Velocity"]
"""Maps rows ``(rows,)`` of a rollout to their guided velocity."""


@dataclass(frozen=True, eq=False)
class ReplayBatch:
    """A rollout, and the networks that its stochastic steps are replayed with.

    Args:
        rollout: The rollout.
        groups: Group of each row, ``(batch,)``; candidates of one clip share a number.
        policy: The policy that is trained, with gradient.
        reference: The reference model, without gradient; None without one.
    """

    rollout: Rollout
    groups: Tensor
    policy: RowVelocity
    reference: RowVelocity | None = None


@dataclass(frozen=True, eq=False)
class Objective:
    """The objective of an update.

    Args:
        loss: The policy loss.
        weighting: Weights of the steps and of their divergence.
        grid: Times ``(steps + 1,)`` of whole trajectories, over which the weights of the steps have mean 1.
        kl_coef: Coefficient of the divergence from the reference model.
        kl_form: Form of the divergence.
    """

    loss: PolicyLoss
    weighting: StepWeighting
    grid: Tensor
    kl_coef: float = 0.0
    kl_form: Divergence = "exact"


@dataclass(frozen=True, eq=False)
class MicroBatch:
    """One stochastic step of some candidates that are replayed together.

    Args:
        source: The rollout that they belong to.
        index: Index of the step in the window.
        rows: Rows of the rollout, ``(rows,)``; whole branches where these share the step.
        advantages: Their advantages ``(rows,)``.
        share: Weight of the mean over these rows in the loss of the update; those of all micro-batches sum to 1.
    """

    source: ReplayBatch
    index: int
    rows: Tensor
    advantages: Tensor
    share: float


def micro_batches(
    batches: Sequence[ReplayBatch],
    advantages: Tensor,
    train_top_k: int | None = None,
    micro_batch_size: int | None = None,
) -> list[MicroBatch]:
    """Split the candidates of an update into micro-batches; every step of a window has the same weight.

    Args:
        batches: All candidates of the update in this process.
        advantages: Their advantages, concatenated.
        train_top_k: Number of candidates per group to train on, those with the largest absolute advantages; None for
            all. At a step that a branch shares, which costs one sample, all candidates are trained on.
        micro_batch_size: Maximum candidates of a micro-batch; None for all. Branches that share a step are not split.
    """
    found = []
    counts = [len(batch.groups) for batch in batches]
    for batch, own in zip(batches, advantages.split(counts), strict=True):
        steps = len(batch.rollout.window)
        for index in range(steps):
            branch_size = 1 if index else batch.rollout.share_size
            every = train_top_k is None or branch_size > 1
            rows = torch.arange(len(own)) if every else top_k_rows(own, batch.groups, train_top_k or len(own))
            size = max(branch_size, (micro_batch_size or len(rows)) // branch_size * branch_size)
            weight = len(own) / sum(counts) / steps / len(rows)
            found += [MicroBatch(batch, index, chunk, own[chunk], weight * len(chunk)) for chunk in rows.split(size)]
    return found


def top_k_rows(advantages: Tensor, groups: Tensor, k: int) -> Tensor:
    """Rows with the ``k`` largest absolute advantages of each group, in order.

    Args:
        advantages: Advantages ``(rows,)``.
        groups: Group of each row.
        k: Rows of each group.

    Example:
        >>> top_k_rows(torch.tensor([0.1, -2.0, 1.0, 0.0]), torch.tensor([5, 5, 5, 5]), 2).tolist()
        [1, 2]
    """
    kept = []
    for group in groups.unique():
        rows = (groups == group).nonzero().flatten()
        order = advantages[rows].abs().argsort(descending=True, stable=True)
        kept.append(rows[order[:k]])
    return torch.cat(kept).sort().values


def accumulate_gradients(
    batches: Sequence[MicroBatch],
    objective: Objective,
    backward: Callable[[Tensor], object] = Tensor.backward,
    before_last: Callable[[], AbstractContextManager[object]] = nullcontext,
) -> list[dict[str, float]]:
    """Accumulate the gradient of an update in the parameters.

    Args:
        batches: The micro-batches of the update, see :func:`micro_batches`.
        objective: The objective.
        backward: Accumulates the gradient of the loss of a micro-batch.
        before_last: Context of each micro-batch but the last, for instance one without gradient synchronization.

    Returns:
        Statistics of each micro-batch by name: those of :meth:`prismaudio.training.grpo.losses.PolicyLoss.loss`,
        ``loss``, ``clipped/step_…`` by the number of the step, and ``kl`` where there is a reference model.
    """
    found = []
    for number, batch in enumerate(batches):
        with nullcontext() if number == len(batches) - 1 else before_last():
            terms, statistics = micro_batch_loss(batch, objective)
            backward(batch.share * terms.mean())
        found.append({name: float(value) for name, value in {**statistics, "loss": terms.detach().mean()}.items()})
    return found


def micro_batch_loss(batch: MicroBatch, objective: Objective) -> tuple[Tensor, dict[str, Tensor]]:
    """Loss ``(rows,)`` of a micro-batch, with gradient, and its statistics by name.

    Args:
        batch: The micro-batch.
        objective: The objective.
    """
    device = batch.source.rollout.latents.device
    rows, index = batch.rows.to(device), batch.index
    sampled = batch.source.rollout.rows(rows)

    def step(network: RowVelocity) -> Transition:
        shared = sampled.share_size > 1 and not index
        velocity = network(rows[:: sampled.share_size] if shared else rows)
        return replay(velocity, sampled, index, prefix=velocity)

    new, old = step(batch.source.policy), sampled.transition(index)
    terms, found = objective.loss.loss(new, old, sampled.states[index + 1], batch.advantages.to(device))
    found[f"clipped/step_{sampled.window.start + index}"] = found["clip_fraction"]
    if batch.source.reference is not None:
        with torch.no_grad():
            other = step(batch.source.reference)
        reduction = objective.loss.reduction
        kl = divergence(new, other, sampled.kernel, *sampled.times(index), objective.kl_form, reduction)
        terms, found["kl"] = terms + objective.kl_coef * kl, kl.detach().mean()
    weight = objective.weighting.weights(sampled.kernel, objective.grid, sampled.window)[index]
    return weight.to(terms) * terms, found
