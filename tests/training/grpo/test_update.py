"""The gradient of an update: whole, in micro-batches, of some candidates, and with a reference model."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from prismaudio.flow.kernels import EulerMaruyamaKernel
from prismaudio.flow.randomness import normal
from prismaudio.flow.times import uniform_grid
from prismaudio.samplers.rollout import Trajectory, replay, rollout
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
    draws = torch.stack([normal((len(groups_of_rows), *SHAPE), key, step) for step in window])
    made = rollout(
        policy, normal((groups, *SHAPE), key), draws, [Trajectory(GRID, window)] * groups, EulerMaruyamaKernel(),
        branch_size=BRANCH, share_first=share,
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
        (steps,) = made.steps.unique(dim=1).T
        weights = objective.weighting.weights(made.kernel, objective.grid, Window(int(steps[0]), int(steps[-1]) + 1))
        for index, weight in enumerate(weights):
            evaluated = every[:: made.evaluated(index)]
            new = replay(one.policy(evaluated), made, index)
            terms, _ = objective.loss.loss(new, made.transition(index), made.states[index + 1], own)
            if one.reference:
                old = replay(one.reference(evaluated), made, index)
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
    for micro_batch_size, n_batches in ((None, 3), (4, 4 if share else 5), (1, 3 + 8 if share else 20)):
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
    assert [one.value < 1e-6 for one in found if one.name == "ratio_error"] == [True, True]
    names = [one.name for one in found[: len(found) // 2]]
    assert {"loss", "ratio", "clip_fraction", "clipped/step_1"} <= set(names)
    assert not {"kl", "limited"} & set(names)


def test_of_each_group_those_with_the_largest_advantages_are_trained_on() -> None:
    network = Network(0)
    some = drawn(network, Window(1, 3), 2, "a")
    first, second = micro_batches([some], ADVANTAGES[:8], train_top_k=2)
    assert first.rows.tolist() == list(range(8))  # the branch shares it
    assert second.rows.tolist() == [0, 3, 5, 7]
    assert first.share == second.share == 0.5


def test_clips_of_several_windows_are_replayed_together_as_each_is_alone() -> None:
    network, base = Network(0), Network(1)
    objective = Objective(ClippedLoss(1e-3), NoiseWeighting(), GRID, 0.3, "velocity")
    windows, groups = [Window(1, 3), Window(3, 5), Window(0, 2)], torch.arange(3).repeat_interleave(BRANCH)
    noise, draws = normal((3, *SHAPE), "noise"), normal((2, 12, *SHAPE), "draws")
    policy, reference = network.rows(groups), base.rows(groups)

    def rolled(rows: Tensor, windows: list[Window]) -> ReplayBatch:
        def own(networks):
            return lambda some: networks(rows[some])

        made = rollout(
            own(policy), noise[groups[rows[::BRANCH]]], draws[:, rows], [Trajectory(GRID, one) for one in windows],
            EulerMaruyamaKernel(), branch_size=BRANCH, share_first=True,
        )  # fmt: skip
        return ReplayBatch(made, groups[rows], own(policy), own(reference))

    together = [rolled(torch.arange(12), windows)]
    apart = [rolled(rows, [one]) for rows, one in zip(torch.arange(12).split(BRANCH), windows, strict=True)]
    network.layer.weight.data += 0.02 * normal((4, 4), "after an update")
    expected = gradient(network, micro_batches(apart, ADVANTAGES), objective)
    statistics = []
    for batches, top_k, size, n_batches in (
        (together, None, None, 2), (together, None, 2, 2 + 6), (together, None, 5, 1 + 3), (apart, None, None, 6),
    ):  # fmt: skip
        todo = micro_batches(batches, ADVANTAGES, top_k, size)
        assert len(todo) == n_batches
        torch.testing.assert_close(gradient(network, todo, objective), expected, rtol=1e-6, atol=1e-7)
        totals: dict[str, float] = {}
        shares: dict[str, float] = {}
        for name, value, share in accumulate_gradients(todo, objective):
            totals[name] = totals.get(name, 0.0) + share * value
            shares[name] = shares.get(name, 0.0) + share
        assert shares["loss"] == pytest.approx(1)
        assert shares["clipped/step_1"] == pytest.approx(2 / 6)  # of two of three clips, one of two steps each
        statistics.append({name: totals[name] / shares[name] for name in sorted(totals) if name != "ratio_error"})
    assert 0 < statistics[0]["clipped/step_1"] < 1
    for other in statistics[1:]:
        assert other == pytest.approx(statistics[0], rel=1e-4, abs=1e-6)
    best = [gradient(network, micro_batches(some, ADVANTAGES, 2), objective) for some in (together, apart)]
    torch.testing.assert_close(*best, rtol=1e-6, atol=1e-7)
