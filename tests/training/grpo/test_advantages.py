"""Test T12 of the specification of the reinforcement learning: advantages."""

import pytest
import torch
from torch import Tensor

from prismaudio.errors import PrismAudioError
from prismaudio.flow.randomness import normal
from prismaudio.training.grpo.advantages import (
    AdvantageEstimator,
    DecoupledAdvantage,
    WeightedSumAdvantage,
    centred,
    flat_groups,
    group_std,
)

GROUPS = torch.arange(6).repeat_interleave(8)
WEIGHTS = {"semantic": 1.0, "temporal": 0.6, "aesthetic": 0.1}
ALL = [
    WeightedSumAdvantage("group"),
    WeightedSumAdvantage("batch"),
    WeightedSumAdvantage("none"),
    DecoupledAdvantage(),
    DecoupledAdvantage(whiten=True),
]
each = pytest.mark.parametrize(
    "estimator", ALL, ids=lambda e: "-".join([type(e).__name__, *map(str, e.config.values())])
)


def rewards() -> dict[str, Tensor]:
    return {name: normal((48,), name) for name in WEIGHTS}


@each
def test_a_group_is_compared_with_itself(estimator: AdvantageEstimator) -> None:
    found = estimator.estimate(rewards(), GROUPS, WEIGHTS)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found.view(6, 8).mean(1), torch.zeros(6), rtol=0, atol=1e-6)
    assert found.abs().max() > 0.5


@each
def test_rewards_may_be_shifted_for_a_whole_clip(estimator: AdvantageEstimator) -> None:
    moved = {name: reward + 3 * GROUPS for name, reward in rewards().items()}
    if estimator.config.get("spread") == "batch":  # easy and hard clips make the deviation larger
        return
    expected = estimator.estimate(rewards(), GROUPS, WEIGHTS)
    torch.testing.assert_close(estimator.estimate(moved, GROUPS, WEIGHTS), expected, rtol=1e-4, atol=1e-4)


@each
def test_a_group_without_differences_teaches_nothing(estimator: AdvantageEstimator) -> None:
    flat = {name: torch.where(GROUPS == 2, 0.1 * len(name), reward) for name, reward in rewards().items()}
    found = estimator.estimate(flat, GROUPS, WEIGHTS)
    assert (found[GROUPS == 2] == 0).all()
    assert (found[GROUPS != 2] != 0).any()


@each
def test_groups_are_identified_by_number_not_by_position(estimator: AdvantageEstimator) -> None:
    order = torch.randperm(48, generator=torch.Generator().manual_seed(0))
    mixed = {name: reward[order] for name, reward in rewards().items()}
    found = estimator.estimate(mixed, 100 - 7 * GROUPS[order], WEIGHTS)
    torch.testing.assert_close(found, estimator.estimate(rewards(), GROUPS, WEIGHTS)[order])


@each
def test_parts_add_up_and_shares_to_one(estimator: AdvantageEstimator) -> None:
    made = {name: reward.double() for name, reward in rewards().items()}
    parts = estimator.contributions(made, GROUPS, WEIGHTS)
    torch.testing.assert_close(sum(parts.values()).float(), estimator.estimate(rewards(), GROUPS, WEIGHTS))
    shares = estimator.shares(rewards(), GROUPS, WEIGHTS)
    assert sum(shares.values()) == pytest.approx(1)
    assert shares["semantic"] > shares["temporal"] > shares["aesthetic"] > 0


def scaled() -> dict[str, Tensor]:
    made = rewards()
    return {**made, "aesthetic": 40 * made["aesthetic"] - 3}


@pytest.mark.parametrize("estimator", ALL[3:], ids=["decoupled", "gdpo"])
def test_decoupled_advantages_do_not_know_the_scales_of_rewards(estimator: AdvantageEstimator) -> None:
    torch.testing.assert_close(
        estimator.estimate(scaled(), GROUPS, WEIGHTS),
        estimator.estimate(rewards(), GROUPS, WEIGHTS),
        rtol=1e-2,  # what is added to the deviations matters less to large ones
        atol=1e-3,
    )
    assert estimator.shares(scaled(), GROUPS, WEIGHTS)["aesthetic"] == pytest.approx(0.1 / 1.7, abs=0.02)


@pytest.mark.parametrize("estimator", ALL[:3], ids=["group", "batch", "none"])
def test_sums_are_ruled_by_the_reward_of_the_largest_scale(estimator: AdvantageEstimator) -> None:
    assert estimator.shares(scaled(), GROUPS, WEIGHTS)["aesthetic"] > 0.6


def test_the_formulas() -> None:
    values = {"a": torch.tensor([1.0, 2, 3, 6, 8, 10]), "b": torch.tensor([0.0, 0, 3, 1, 1, 1])}
    groups, weights = torch.tensor([0, 0, 0, 1, 1, 1]), {"a": 1.0, "b": 2.0}
    total = values["a"] + 2 * values["b"]
    less = total.view(2, 3) - total.view(2, 3).mean(1, keepdim=True)

    def estimate(estimator: AdvantageEstimator) -> Tensor:
        return estimator.estimate(values, groups, weights).view(2, 3)

    population = total.view(2, 3).std(1, correction=0, keepdim=True)
    torch.testing.assert_close(estimate(WeightedSumAdvantage("group")), less / (population + 1e-4))
    torch.testing.assert_close(estimate(WeightedSumAdvantage("batch")), less / (total.std(correction=0) + 1e-4))
    torch.testing.assert_close(estimate(WeightedSumAdvantage("none", limit=100)), less)
    each = [(r.view(2, 3) - r.view(2, 3).mean(1, keepdim=True)) for r in values.values()]
    each = [part / (part.square().mean(1, keepdim=True).sqrt() + 1e-4) for part in each]
    decoupled = each[0] + 2 * each[1]
    torch.testing.assert_close(estimate(DecoupledAdvantage()), decoupled)
    torch.testing.assert_close(
        estimate(DecoupledAdvantage(whiten=True)), decoupled / (decoupled.std(correction=0) + 1e-4)
    )


def test_advantages_are_limited() -> None:
    found = WeightedSumAdvantage("none").estimate({"a": torch.tensor([0.0, 100.0])}, torch.zeros(2), {"a": 1.0})
    assert found.tolist() == [-5, 5]


def test_a_group_of_one_candidate_has_no_advantage() -> None:
    found = WeightedSumAdvantage().estimate({"a": torch.tensor([3.0, 4.0])}, torch.tensor([0, 1]), {"a": 1.0})
    assert found.tolist() == [0, 0]


def test_names_must_agree() -> None:
    with pytest.raises(PrismAudioError, match=r"weights for \['b'\], but rewards are \['a'\]"):
        WeightedSumAdvantage().estimate({"a": torch.zeros(2)}, torch.zeros(2), {"b": 1.0})


def test_flat_groups_are_found_whatever_their_value() -> None:
    values = torch.tensor([0.1, 0.1, 0.1, 0.1, 0.1, 0.1 + 1e-7])
    assert flat_groups(values, torch.tensor([4, 4, 4, 2, 2, 2])).tolist() == [False, True]
    assert (centred(values[:3], torch.zeros(3, dtype=torch.long)) == 0).all()
    assert (group_std(values[:3], torch.zeros(3, dtype=torch.long)) == 0).all()
