"""One update of a policy: the random steps of its candidates are computed again, and the gradient is accumulated.

It is the same for every network and every trainer. A part is one random step of some candidates, as many as fit into
memory at once; the gradients of all parts add up to that of the mean over candidates and steps.
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

Rows = Callable[[Tensor], "Velocity"]
"""Gives the guided velocity of some rows ``(rows,)`` of a rollout."""


@dataclass(frozen=True, eq=False)
class Drawn:
    """Candidates that were made together, and the networks that their steps are computed again with.

    Args:
        rollout: How they were made.
        groups: A number for each row that candidates of one clip share, ``(batch,)``.
        policy: The policy that is trained, with gradient.
        reference: The model from which it should not go far, without; None where there is none.
    """

    rollout: Rollout
    groups: Tensor
    policy: Rows
    reference: Rows | None = None


@dataclass(frozen=True, eq=False)
class Objective:
    """What an update minimises.

    Args:
        loss: The policy loss.
        weighting: How much each step counts, with its divergence.
        grid: Times ``(steps + 1,)`` of whole trajectories, over which the weights of the steps have the mean 1.
        kl: Weight of the divergence from the reference.
        kl_form: Which divergence.
    """

    loss: PolicyLoss
    weighting: StepWeighting
    grid: Tensor
    kl: float = 0.0
    kl_form: Divergence = "exact"


@dataclass(frozen=True, eq=False)
class Part:
    """One random step of some candidates, that is replayed at once.

    Args:
        drawn: Of which ones.
        index: Which step of their window.
        rows: Which of them, ``(rows,)``; whole families where siblings share the step.
        advantages: Their advantages ``(rows,)``.
        share: Share of the mean over these rows in the loss of the update; those of all parts are 1 together.
    """

    drawn: Drawn
    index: int
    rows: Tensor
    advantages: Tensor
    share: float


def parts(
    drawn: Sequence[Drawn], advantages: Tensor, trained: int | None = None, rows_at_once: int | None = None
) -> list[Part]:
    """What is replayed, step by step; every step of a window counts the same.

    Args:
        drawn: All candidates of the update in this process.
        advantages: The advantages of all of them.
        trained: Candidates of each clip that are trained on, those with the largest advantages; None for all. A step
            that siblings share costs one of them, so there all are.
        rows_at_once: How many are replayed at once at most, but for siblings that share a step.
    """
    found = []
    counts = [len(some.groups) for some in drawn]
    for some, own in zip(drawn, advantages.split(counts), strict=True):
        steps = len(some.rollout.window)
        for index in range(steps):
            family = 1 if index else some.rollout.siblings
            every = trained is None or family > 1
            rows = torch.arange(len(own)) if every else largest(own, some.groups, trained or len(own))
            size = max(family, (rows_at_once or len(rows)) // family * family)
            weight = len(own) / sum(counts) / steps / len(rows)
            found += [Part(some, index, chunk, own[chunk], weight * len(chunk)) for chunk in rows.split(size)]
    return found


def largest(advantages: Tensor, groups: Tensor, count: int) -> Tensor:
    """Rows with the ``count`` largest advantages of each group, of either sign, in order.

    Args:
        advantages: Advantages ``(rows,)``.
        groups: Group of each row.
        count: How many of each.

    Example:
        >>> largest(torch.tensor([0.1, -2.0, 1.0, 0.0]), torch.tensor([5, 5, 5, 5]), 2).tolist()
        [1, 2]
    """
    kept = []
    for group in groups.unique():
        rows = (groups == group).nonzero().flatten()
        order = advantages[rows].abs().argsort(descending=True, stable=True)
        kept.append(rows[order[:count]])
    return torch.cat(kept).sort().values


def accumulate(
    parts: Sequence[Part],
    objective: Objective,
    backward: Callable[[Tensor], object] = Tensor.backward,
    before_last: Callable[[], AbstractContextManager[object]] = nullcontext,
) -> list[dict[str, float]]:
    """Add the gradient of an update to that of the parameters.

    Args:
        parts: What :func:`parts` gave.
        objective: What is minimised.
        backward: Adds the gradient of the loss of a part to that of the parameters.
        before_last: Context of each part but the last, for instance one in which processes do not talk.

    Returns:
        For each part statistics by name: those of :meth:`prismaudio.training.grpo.losses.PolicyLoss.loss`, ``loss``,
        ``clipped/step_…`` by the number of the step, and ``kl`` where there is a reference.
    """
    found = []
    for number, part in enumerate(parts):
        with nullcontext() if number == len(parts) - 1 else before_last():
            terms, statistics = part_loss(part, objective)
            backward(part.share * terms.mean())
        found.append({name: float(value) for name, value in {**statistics, "loss": terms.detach().mean()}.items()})
    return found


def part_loss(part: Part, objective: Objective) -> tuple[Tensor, dict[str, Tensor]]:
    """Loss ``(rows,)`` of one random step of some candidates, with gradient, and statistics by name.

    Args:
        part: Which step of which candidates.
        objective: What is minimised.
    """
    device = part.drawn.rollout.latents.device
    rows, index = part.rows.to(device), part.index
    made = part.drawn.rollout.rows(rows)

    def step(network: Rows) -> Transition:
        shared = made.siblings > 1 and not index
        velocity = network(rows[:: made.siblings] if shared else rows)
        return replay(velocity, made, index, prefix=velocity)

    new, old = step(part.drawn.policy), made.transition(index)
    terms, found = objective.loss.loss(new, old, made.states[index + 1], part.advantages.to(device))
    found[f"clipped/step_{made.window.start + index}"] = found["clip_fraction"]
    if part.drawn.reference is not None:
        with torch.no_grad():
            other = step(part.drawn.reference)
        reduction = objective.loss.reduction
        apart = divergence(new, other, made.kernel, *made.times(index), objective.kl_form, reduction)
        terms, found["kl"] = terms + objective.kl * apart, apart.detach().mean()
    weight = objective.weighting.weights(made.kernel, objective.grid, made.window)[index]
    return weight.to(terms) * terms, found
