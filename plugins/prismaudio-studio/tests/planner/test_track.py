from __future__ import annotations

import pytest
import torch

from prismaudio_studio.planner.track import apart, straight_track

ACROSS_DEG = torch.linspace(-60, 60, 12)


def seen(path_deg: torch.Tensor, width_deg: float = 6.0) -> torch.Tensor:
    return (-0.5 * ((ACROSS_DEG - path_deg[:, None]) / width_deg).square()).softmax(-1)


def test_what_moves_is_followed_while_it_sounds() -> None:
    path_deg = torch.cat([torch.full((10,), 50.0), torch.linspace(50, -30, 20), torch.full((10,), -30.0)])
    assert straight_track(seen(path_deg), ACROSS_DEG, 10, 29) == pytest.approx((50, -30), abs=3)


def test_a_picture_that_is_sure_and_wrong_does_not_decide() -> None:
    chance = seen(torch.full((40,), 20.0))
    chance[5:8] = seen(torch.full((3,), -50.0), 0.5)
    assert straight_track(chance, ACROSS_DEG, 4, 9) == pytest.approx((20, 20), abs=3)


def test_a_single_picture_is_enough() -> None:
    assert straight_track(seen(torch.tensor([-40.0])), ACROSS_DEG, 0, 0) == pytest.approx((-40, -40), abs=3)


def test_what_hardly_moves_stands_still() -> None:
    start_deg, stop_deg = straight_track(seen(torch.linspace(0, 3, 30)), ACROSS_DEG, 0, 29)
    assert start_deg == stop_deg == pytest.approx(1.5, abs=1)


def test_things_do_not_take_each_others_place() -> None:
    glass = seen(torch.full((20,), 50.0))
    coin = 0.4 * seen(torch.full((20,), -40.0)) + 0.6 * glass  # looks rather like the glass
    assert straight_track(coin, ACROSS_DEG, 0, 19) == pytest.approx((50, 50), abs=5)
    places = apart(torch.stack([coin, glass], 1)).unbind(1)
    assert straight_track(places[0], ACROSS_DEG, 0, 19) == pytest.approx((-40, -40), abs=5)
    assert straight_track(places[1], ACROSS_DEG, 0, 19) == pytest.approx((50, 50), abs=5)


def test_a_thing_alone_keeps_its_place() -> None:
    chance = seen(torch.linspace(-20, 30, 20))
    assert torch.allclose(apart(chance[:, None])[:, 0], chance, atol=1e-6)
