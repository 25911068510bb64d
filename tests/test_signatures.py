"""Arguments that a constructor passes on by ``**kwargs``."""

from __future__ import annotations

from typing import Any

import pytest

from prismaudio.checkpoints import Configured, check_arguments, description
from prismaudio.errors import CheckpointError
from prismaudio.models.conditioners import SyncConditioner
from prismaudio.signatures import constructors, parameters, type_hints


class Base(Configured):
    def __init__(self, size: int, *, scale: float = 1.0) -> None:
        self.size, self.scale = size, scale


class Passing(Base):
    def __init__(self, depth: int = 2, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.depth = depth


class Keeping(Base):
    def __init__(self, depth: int = 2) -> None:
        super().__init__(1)


def test_arguments_of_bases_count_only_where_they_are_passed_on():
    assert list(parameters(Passing)) == ["depth", "size", "scale"]
    assert list(parameters(Keeping)) == ["depth"]
    assert len(list(constructors(Keeping))) == 1
    assert type_hints(Passing)["scale"] is float


def test_an_object_stores_arguments_that_it_passes_on_and_their_defaults():
    assert Passing(size=3).config == {"depth": 2, "size": 3, "scale": 1.0}
    assert Passing(5, size=3, scale=2.0).config == {"depth": 5, "size": 3, "scale": 2.0}


@pytest.mark.parametrize(
    "wrong", [{"dim": "8", "token_dim": 4}, {"dim": 8}, {"dim": 8, "token_dim": 4, "gate": "wide"}]
)
def test_arguments_that_are_passed_on_are_checked_against_their_types(wrong):
    check_arguments("here", SyncConditioner, {"dim": 8, "token_dim": 4, "additive": True})
    with pytest.raises(CheckpointError, match=r"here\.arguments"):
        check_arguments("here", SyncConditioner, wrong)


def test_a_conditioner_is_described_completely():
    described = description(SyncConditioner(8, 4, additive=True))["arguments"]
    assert described == {
        "dim": 8,
        "token_dim": 4,
        "segment": 8,
        "cross_attended": False,
        "additive": True,
        "gate": 0.0,
    }
