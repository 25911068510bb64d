"""Directions over time are those that single parts have."""

import pytest
import torch

from prismaudio.audio.directions import HOP_S, WINDOW_S, directions, n_windows
from prismaudio.audio.stereo import cut, ild_db, itd_s

RATE_HZ = 16_000


def sound(late: int, gain: float, seed: int = 0, seconds: float = 1.0) -> torch.Tensor:
    """Noise that the left ear hears ``late`` samples later, and the right one ``gain`` times as loud."""
    noise = torch.randn(round(seconds * RATE_HZ) + late, generator=torch.Generator().manual_seed(seed))
    return 0.1 * torch.stack([noise[: len(noise) - late], gain * noise[late:]])


def test_it_measures_what_the_functions_for_one_part_do() -> None:
    audio = torch.stack([sound(5, 2.0), sound(9, 0.5, seed=1).flip(0)])
    audio = audio + 0.02 * torch.randn(audio.shape, generator=torch.Generator().manual_seed(2))
    found = directions(audio, RATE_HZ)
    for row in range(2):
        for window in (0, 7, 22):
            part = cut(audio[row], RATE_HZ, window * HOP_S, WINDOW_S)
            assert found.itd_ms[row, window].item() == pytest.approx(1000 * itd_s(part, RATE_HZ), abs=0.01)
            assert found.ild_db[row, window].item() == pytest.approx(ild_db(part), abs=0.01)


def test_nothing_is_left_over_of_the_right_direction() -> None:
    found = directions(sound(8, 2.0)[None], RATE_HZ)
    itd_ms, level_db = torch.full_like(found.itd_ms, 0.5), torch.full_like(found.itd_ms, 6.02)
    assert found.left_over(itd_ms, level_db).max() < 0.02
    assert found.left_over(0 * itd_ms, 0 * level_db).min() > 0.4
    assert found.left_over(-itd_ms, -level_db).min() > 0.4


def test_windows_are_counted() -> None:
    for seconds in (0.05, 0.1, 1.0, 3.99):
        audio = torch.zeros(1, 2, round(seconds * RATE_HZ))
        assert directions(audio, RATE_HZ).power.shape == (1, n_windows(seconds))
