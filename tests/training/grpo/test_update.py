"""The gradient of an update: whole, in micro-batches, of some candidates, and with a reference model."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from prismaudio.flow.kernels import EulerMaruyamaKernel
from prismaudio.flow.randomness import normal
from prismaudio.flow.times import uniform_grid
from prismaudio.samplers.rollout import replay, rollout
from prismaudio.training.grpo.divergence import divergence
from prismaudio.training.grpo.losses import ClippedLoss
from prismaudio.training.grpo.update import Objective, ReplayBatch, accumulate_gradients, micro_batches
from prismaudio.training.grpo.weighting import NoiseWeighting
from prismaudio.training.grpo.windows import Window

GRID, SHAPE, BRANCH = uniform_grid(6), (3, 4), 4
ADVANTAGES = torch.tensor([1.0, -0.5, 0.25, -0.75, 0.5, 2.0, -1.0, -1.5, 0.1, 0.2, -0.2, -0.1])


class Network(nn.Module):
    """Velocity of three groups."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 4)
        with torch.no_grad():
            self.layer.weight.copy_(normal((4, 4), "weight", seed))

    def rows(self, groups_of_rows: Tensor):
        def rows_of(rows: Tensor):
            return lambda latents, times: (
                self.layer(latents + groups_of_rows[rows][:, None, None]) * times[:, None, None]
            )

        return rows_of


def drawn(
    network: Network, window: Window, groups: int, key: str, *, share: bool = True, reference=None
) -> ReplayBatch:
    groups_of_rows = torch.arange(groups).repeat_interleave(BRANCH)
    policy = network.rows(groups_of_rows)
    made = rollout(
        policy(torch.arange(len(groups_of_rows))), normal((groups, *SHAPE), key), GRID, window, EulerMaruyamaKernel(),
        lambda step: normal((len(groups_of_rows), *SHAPE), key, step),
        branch_size=BRANCH, prefix=policy(torch.arange(0, len(groups_of_rows), BRANCH)), share_first=share,
    )  # fmt: skip
    return ReplayBatch(made, groups_of_rows, policy, reference and reference.rows(groups_of_rows))


def gradient(network: Network, todo, objective: Objective) -> Tensor:
    network.zero_grad()
    accumulate_gradients(todo, objective)
    return network.layer.weight.grad.clone()


def by_hand(network: Network, some: list[ReplayBatch], objective: Objective) -> Tensor:
    """The formula, over everything at once."""
    total = torch.zeros(())
    counts = [len(one.groups) for one in some]
    for one, own in zip(some, ADVANTAGES.split(counts), strict=True):
        made, every = one.rollout, torch.arange(len(one.groups))
        weights = objective.weighting.weights(made.kernel, objective.grid, made.window)
        for index, weight in enumerate(weights):
            new = replay(one.policy(every), made, index, one.policy(every[:: made.share_size]))
            terms, _ = objective.loss.loss(new, made.transition(index), made.states[index + 1], own)
            if one.reference:
                old = replay(one.reference(every), made, index, one.reference(every[:: made.share_size]))
                times = made.times(index)
                terms = terms + objective.kl_coef * divergence(new, old, made.kernel, *times, objective.kl_form)
            total = total + (weight * terms).sum() / sum(counts) / len(weights)
    return torch.autograd.grad(total, network.layer.weight)[0]


@pytest.mark.parametrize("share", [True, False])
@pytest.mark.parametrize("kl", [0.0, 0.3])
def test_micro_batches_add_up_to_the_formula(share, kl) -> None:
    network, base = Network(0), Network(1)
    objective = Objective(ClippedLoss(), NoiseWeighting(), GRID, kl, "velocity")
    options = {"share": share, "reference": base if kl else None}
    some = [drawn(network, Window(1, 3), 2, "a", **options), drawn(network, Window(3, 4), 1, "b", **options)]
    expected = by_hand(network, some, objective)
    for micro_batch_size, n_batches in ((None, 3), (4, 5), (1, 11 if share else 20)):
        todo = micro_batches(some, ADVANTAGES, micro_batch_size=micro_batch_size)
        assert sum(one.share for one in todo) == pytest.approx(1)
        assert len(todo) == n_batches
        torch.testing.assert_close(gradient(network, todo, objective), expected)


def test_only_the_last_micro_batch_is_outside_of_the_context() -> None:
    events = []

    class Context:
        def __enter__(self):
            events.append("in")

        def __exit__(self, *_):
            events.append("out")

    network = Network(0)
    todo = micro_batches([drawn(network, Window(1, 2), 2, "a", share=False)], ADVANTAGES[:8], micro_batch_size=4)
    found = accumulate_gradients(
        todo, Objective(ClippedLoss(), NoiseWeighting(), GRID), lambda _: events.append("back"), Context
    )
    assert events == ["in", "back", "out", "back"]
    assert [one["ratio_error"] < 1e-6 for one in found] == [True, True]
    assert {"loss", "ratio", "clip_fraction", "clipped/step_1"} <= found[0].keys()
    assert "kl" not in found[0]


def test_of_each_group_those_with_the_largest_advantages_are_trained_on() -> None:
    network = Network(0)
    some = drawn(network, Window(1, 3), 2, "a")
    first, second = micro_batches([some], ADVANTAGES[:8], train_top_k=2)
    assert first.rows.tolist() == list(range(8))  # the branch shares it
    assert second.rows.tolist() == [0, 3, 5, 7]
    assert first.share == second.share == 0.5
