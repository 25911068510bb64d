"""Each reward responds to its own dimension on held-out scenes of the studio, and to no other."""

from __future__ import annotations

import pytest
from reward_checks import FORMS, KINDS, NEEDING_A_SECTION, RewardChecks, check_needs_its_section, named

from prismaudio.testing import check_reward
from prismaudio.testing.examples import example_plan
from prismaudio_studio.reward import SemanticReward

PLAN = example_plan({"semantic": "A bell rings.", "temporal": "The bell sounds at 0.50 s and 1.00 s."})


@pytest.mark.parametrize("reward", [SemanticReward(), *FORMS], ids=named)
def test_the_reward_contract(reward) -> None:
    check_reward(reward, plan=PLAN)


@pytest.mark.parametrize("kind", [SemanticReward, *KINDS])
class TestRewards(RewardChecks):
    noise = (0.001, 0.02)


@pytest.mark.parametrize("reward", [SemanticReward(), *NEEDING_A_SECTION], ids=named)
def test_a_plan_without_its_section_is_not_applicable(reward, clips) -> None:
    check_needs_its_section(reward, clips.plans[0])
