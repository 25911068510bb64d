"""The rewards of the core keep the contract, and hear what they are for."""

from __future__ import annotations

import pytest
from reward_checks import FORMS, KINDS, NEEDING_A_SECTION, RewardChecks, check_needs_its_section, named

from prismaudio.testing import check_reward


@pytest.mark.parametrize("reward", FORMS, ids=named)
def test_the_contract_is_kept(reward) -> None:
    check_reward(reward)


@pytest.mark.parametrize("kind", KINDS)
class TestRewards(RewardChecks):
    noise = (0.02, 0.2)


@pytest.mark.parametrize("reward", NEEDING_A_SECTION, ids=named)
def test_a_plan_without_its_section_is_not_applicable(reward, clips) -> None:
    check_needs_its_section(reward, clips.plans[0])
