"""The small environment and the task of the third stage follow the same gradient."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

from prismaudio.models.dit import DiffusionTransformer
from prismaudio.rewards.spatial import SpatialReward
from prismaudio.training.candidates import Candidates
from prismaudio.training.fast_grpo import FastGrpoTask
from prismaudio.training.grpo.options import PolicyOptions, RewardOptions, RolloutOptions
from prismaudio.types import Conditions, Features
from rl_benchmark.methods import GROUP, METHODS
from rl_benchmark.small import SmallEnvironment
from rl_benchmark.world import VelocityNetwork


class SmallTask(FastGrpoTask):
    """The task of the third stage with the network of the small world, which is given a class."""

    def velocity(self, conditions, n_frames, network=None, *, mask=None, cache=True):
        return (network or self.transformer).given(conditions["text"].values[:, 0, 0].long())


def made_from(network, method, **options) -> SmallTask:
    task = SmallTask(
        {"spatial": SpatialReward()}, encoders={}, transformer=DiffusionTransformer(2, 64, 2, 2),
        rollout=RolloutOptions(
            group_size=GROUP, branch_size=method.branch_size, share_first=method.share_first,
            num_steps=method.num_steps, max_tail_steps=method.max_tail_steps, window=method.window,
            kernel=method.kernel,
        ),
        policy=PolicyOptions(loss=method.loss, weighting=method.weighting, train_micro_batch_size=10_000),
        scoring=RewardOptions(advantage=method.advantage), **options,
    )  # fmt: skip
    task.transformer = network
    task._trainer = SimpleNamespace(world_size=1, strategy=None, global_step=0)
    task.manual_backward = torch.Tensor.backward
    return task


def conditions(classes: torch.Tensor) -> Conditions:
    return Conditions(text=Features(classes.float()[:, None, None], torch.ones(len(classes), 1, dtype=torch.bool)))


def gradients(network) -> list[torch.Tensor]:
    found = [parameter.grad.clone() for parameter in network.parameters()]
    network.zero_grad()
    return found


@pytest.mark.parametrize("name", ["flow_grpo", "release", "paper", "recommended", "recommended_w2"])
def test_both_have_equal_gradients_on_equal_rollouts(name, monkeypatch) -> None:
    torch.manual_seed(0)
    network, environment, method = VelocityNetwork(), SmallEnvironment(), METHODS[name]
    batches, advantages = environment.draw(network, method, 0, 0)
    monkeypatch.setattr(environment, "draw", lambda *_: (batches, advantages))
    environment.accumulate(network, method, 0, 0)
    expected = gradients(network)
    assert all(gradient.any() for gradient in expected)
    task = made_from(network, method)
    candidates = [
        Candidates([str(int(c)) for c in some.groups], some.rollout, conditions(some.groups), []) for some in batches
    ]
    task._replay(candidates, advantages, first=True)
    for mine, theirs in zip(gradients(network), expected, strict=True):
        assert torch.equal(mine, theirs)
