from __future__ import annotations

import pytest
import torch

from prismaudio_studio.planner.track import resolve_overlaps, straight_track

ACROSS_DEG = torch.linspace(-60, 60, 12)


def column_probabilities(path_deg: torch.Tensor, width_deg: float = 6.0) -> torch.Tensor:
    return (-0.5 * ((ACROSS_DEG - path_deg[:, None]) / width_deg).square()).softmax(-1)


def test_a_moving_source_is_tracked_while_it_is_active() -> None:
    path_deg = torch.cat([torch.full((10,), 50.0), torch.linspace(50, -30, 20), torch.full((10,), -30.0)])
    assert straight_track(column_probabilities(path_deg), ACROSS_DEG, 10, 29) == pytest.approx((50, -30), abs=3)


def test_a_few_confident_wrong_frames_do_not_decide() -> None:
    chance = column_probabilities(torch.full((40,), 20.0))
    chance[5:8] = column_probabilities(torch.full((3,), -50.0), 0.5)
    assert straight_track(chance, ACROSS_DEG, 4, 9) == pytest.approx((20, 20), abs=3)


def test_a_single_frame_is_enough() -> None:
    assert straight_track(column_probabilities(torch.tensor([-40.0])), ACROSS_DEG, 0, 0) == pytest.approx(
        (-40, -40), abs=3
    )


def test_a_source_that_hardly_moves_is_static() -> None:
    start_deg, stop_deg = straight_track(column_probabilities(torch.linspace(0, 3, 30)), ACROSS_DEG, 0, 29)
    assert start_deg == stop_deg == pytest.approx(1.5, abs=1)


def test_two_sources_do_not_share_a_place() -> None:
    glass = column_probabilities(torch.full((20,), 50.0))
    coin = 0.4 * column_probabilities(torch.full((20,), -40.0)) + 0.6 * glass  # resembles the glass
    assert straight_track(coin, ACROSS_DEG, 0, 19) == pytest.approx((50, 50), abs=5)
    places = resolve_overlaps(torch.stack([coin, glass], 1)).unbind(1)
    assert straight_track(places[0], ACROSS_DEG, 0, 19) == pytest.approx((-40, -40), abs=5)
    assert straight_track(places[1], ACROSS_DEG, 0, 19) == pytest.approx((50, 50), abs=5)


def test_a_single_source_keeps_its_probabilities() -> None:
    chance = column_probabilities(torch.linspace(-20, 30, 20))
    assert torch.allclose(resolve_overlaps(chance[:, None])[:, 0], chance, atol=1e-6)
