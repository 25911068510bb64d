"""One policy update: the stochastic steps of the candidates are replayed, and their gradients are accumulated.

It does not depend on the network or the trainer. A micro-batch is one stochastic step of some candidates, as many as
fit into memory; the gradients of all micro-batches add up to that of the mean over candidates and steps.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

from prismaudio.samplers.base import on_device_of
from prismaudio.samplers.rollout import Rollout, RowVelocity, replay
from prismaudio.training.grpo.divergence import Divergence, divergence
from prismaudio.training.grpo.losses import PolicyLoss
from prismaudio.training.grpo.weighting import StepWeighting
from prismaudio.training.grpo.windows import Window

if TYPE_CHECKING:
    from collections.abc import Sequence


CLIPPED = "clipped/step_"
"""Prefix of the share of limited samples of a step."""


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
    """One stochastic step of some candidates, of one or several clips, that are replayed together.

    Args:
        source: The rollout that they belong to.
        index: Index of the step in the windows; its number in the trajectory may differ between clips.
        rows: Rows of the rollout, ``(rows,)``; whole branches where these share the step.
        advantages: Their advantages ``(rows,)``.
        share: Weight of the mean over these rows in the loss of the update; those of all micro-batches sum to 1.
    """

    source: ReplayBatch
    index: int
    rows: Tensor
    advantages: Tensor
    share: float


class Statistic(NamedTuple):
    """A number of a micro-batch.

    Args:
        name: Its name.
        value: Its value.
        share: Weight of the value in the mean over the update.
    """

    name: str
    value: float
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
        micro_batch_size: Maximum number of samples of a micro-batch that the network is evaluated for, where a branch
            that shares the step counts as one; None for all candidates of a batch.
    """
    found: list[MicroBatch] = []
    counts = [len(batch.groups) for batch in batches]
    for batch, own in zip(batches, advantages.split(counts), strict=True):
        steps = len(batch.rollout.steps)
        for index in range(steps):
            branch_size = batch.rollout.evaluated(index)
            every = train_top_k is None or branch_size > 1
            rows = torch.arange(len(own)) if every else top_k_rows(own, batch.groups, train_top_k or len(own))
            size = micro_batch_size * branch_size if micro_batch_size else len(rows)
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
) -> list[Statistic]:
    """Accumulate the gradient of an update in the parameters.

    Args:
        batches: The micro-batches of the update, see :func:`micro_batches`.
        objective: The objective.
        backward: Accumulates the gradient of the loss of a micro-batch.
        before_last: Context of each micro-batch but the last, for instance one without gradient synchronization.

    Returns:
        Statistics of all micro-batches: those of :meth:`prismaudio.training.grpo.losses.PolicyLoss.loss`, ``loss``,
        ``clipped/step_…`` by the number of the step, and ``kl`` where there is a reference model. They are copied from
        the device once, after the last micro-batch.
    """
    names: list[tuple[str, float]] = []
    values: list[Tensor] = []
    for number, batch in enumerate(batches):
        with nullcontext() if number == len(batches) - 1 else before_last():
            terms, statistics = micro_batch_loss(batch, objective)
            backward(batch.share * terms.mean())
        values += [*statistics.values(), terms.detach().mean()]
        steps = batch.source.rollout.steps[batch.index, batch.rows].tolist()
        for name in (*statistics, "loss"):
            of_step = name.removeprefix(CLIPPED)
            part = 1.0 if of_step == name else steps.count(int(of_step)) / len(steps)
            names.append((name, batch.share * part))
    found = torch.stack(values).tolist() if values else []
    return [Statistic(name, value, share) for (name, share), value in zip(names, found, strict=True)]


def micro_batch_loss(batch: MicroBatch, objective: Objective) -> tuple[Tensor, dict[str, Tensor]]:
    """Loss ``(rows,)`` of a micro-batch, with gradient, and its statistics by name.

    Args:
        batch: The micro-batch.
        objective: The objective.
    """
    sampled = batch.source.rollout.step(batch.index).rows(batch.rows)
    rows = on_device_of(sampled.latents, batch.rows[:: sampled.share_size])
    new, old = replay(batch.source.policy(rows), sampled, 0), sampled.transition(0)
    advantages = on_device_of(sampled.latents, batch.advantages)
    terms, found = objective.loss.loss(new, old, sampled.states[1], advantages)
    found |= _clipped_by_step(found.pop("limited"), sampled.steps[0])
    if batch.source.reference is not None:
        with torch.no_grad():
            other = replay(batch.source.reference(rows), sampled, 0)
        reduction, times = objective.loss.reduction, sampled.times(0)
        kl = divergence(new, other, sampled.kernel, *times, objective.kl_form, reduction)
        terms, found["kl"] = terms + objective.kl_coef * kl, kl.detach().mean()
    whole = Window(0, len(objective.grid) - 1)
    weights = objective.weighting.weights(sampled.kernel, objective.grid, whole)[sampled.steps[0]]
    return on_device_of(terms, weights.to(terms.dtype)) * terms, found


def _clipped_by_step(limited: Tensor, steps: Tensor) -> dict[str, Tensor]:
    """Share of limited samples by the number of the step.

    Args:
        limited: True where the loss was limited, ``(rows,)``.
        steps: Number of the step of each row, on the CPU.
    """
    found = sorted(set(steps.tolist()))
    counted = (steps[:, None] == torch.tensor(found)).float()
    shares = (limited.float()[:, None] * on_device_of(limited, counted / counted.sum(0))).sum(0)
    return {f"{CLIPPED}{step}": share for step, share in zip(found, shares, strict=True)}
