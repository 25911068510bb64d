"""What was prepared by another reward, or by another version of it, is not reused."""

from types import SimpleNamespace

import pytest
import torch

from prismaudio.checkpoints import Configured
from prismaudio.plan import Plan
from prismaudio.planners.base import Planner
from prismaudio.rewards import prepare
from prismaudio.rewards.preparing import cache_key, versions
from prismaudio.rewards.spatial import SpatialReward
from prismaudio.types import Clip

CLIP = Clip("x", 1.0, frames=torch.zeros(25, 3, 8, 8, dtype=torch.uint8), fps=25.0)


class Fixed(Planner):
    """Says where the bell is, whatever it sees."""

    def __init__(self, side: str) -> None:
        self.side = side

    def plan(self, clip, dimensions, given=None):
        return Plan.parse(f"<Temporal> The bell sounds at 0.50 s. <Spatial> The bell is on the {self.side}.")


class Told(Configured, Fixed):
    def __init__(self, side: str) -> None:
        super().__init__(side)


class Weighing(Configured, torch.nn.Module):
    def __init__(self, bias: float = 0.0) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(1, 1)
        torch.nn.init.constant_(self.layer.bias, bias)
        torch.nn.init.zeros_(self.layer.weight)


@pytest.mark.parametrize("kind", [Fixed, Told])
def test_plans_of_different_planners_are_not_confused(kind, tmp_path) -> None:
    for _ in range(4):  # an address in memory is soon that of another
        for side, sign in (("left", -1), ("right", 1)):
            cache = prepare(SpatialReward(planner=kind(side)), CLIP, Plan({}), tmp_path)
            assert cache["itd_ms"].sign().unique().tolist() == [sign]
    assert len(list(tmp_path.rglob("*.safetensors"))) == (2 if kind is Told else 0)


def test_the_identity_of_a_reward_includes_the_weights_of_its_planner() -> None:
    planner = Weighing()
    before = SpatialReward(planner=planner).identity
    assert SpatialReward(planner=Weighing()).identity == before
    torch.nn.init.ones_(planner.layer.bias)  # as if loaded
    assert SpatialReward(planner=planner).identity != before
    assert SpatialReward(planner=torch.nn.Linear(1, 1)).identity is None


def test_another_release_prepares_again(monkeypatch) -> None:
    installed: list = []
    monkeypatch.setattr("prismaudio.rewards.preparing.entry_points", lambda group: installed)

    def told(version):
        versions.cache_clear()
        installed[:] = [
            SimpleNamespace(value="prismaudio.builtin", dist=SimpleNamespace(name="prismaudio", version=version)),
            SimpleNamespace(value="other_package.hooks", dist=SimpleNamespace(name="other", version=version)),
        ]
        return versions(SpatialReward), cache_key(SpatialReward("plan"), CLIP, Plan({}))

    (one, first), (_, second) = told("1.0"), told("1.1")
    versions.cache_clear()
    assert one == (("prismaudio", "1.0"),)
    assert first != second
