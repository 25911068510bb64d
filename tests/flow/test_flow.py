import pytest
import torch

from prismaudio.flow.path import interpolate, velocity_target
from prismaudio.flow.times import (
    logit_normal_times,
    truncated_logistic,
    truncated_logit_normal_times,
    uniform_grid,
)


def test_the_path_begins_at_data_and_ends_at_noise() -> None:
    data, noise = torch.randn(3, 2, 4), torch.randn(3, 2, 4)
    times = torch.tensor([0.0, 1.0, 0.25])
    point = interpolate(data, noise, times)
    torch.testing.assert_close(point[0], data[0])
    torch.testing.assert_close(point[1], noise[1])
    torch.testing.assert_close(point[2], data[2] + 0.25 * velocity_target(data, noise)[2])


def test_training_times_are_seeded_and_can_lean_to_noise() -> None:
    draw = [logit_normal_times(4000, mean, generator=torch.Generator().manual_seed(0)) for mean in (0.0, 0.0, 1.0)]
    torch.testing.assert_close(draw[0], draw[1])
    assert abs(draw[0].mean() - 0.5) < 0.02
    assert draw[2].mean() > 0.65


def test_the_grid_is_the_published_one() -> None:
    assert uniform_grid(24)[0] == 1
    assert uniform_grid(24)[-1] == 0
    torch.testing.assert_close(uniform_grid(24).diff(), torch.full((24,), -1 / 24))


def test_the_published_training_times_are_spread_over_all_of_the_path() -> None:
    draw = [truncated_logit_normal_times(20_000, generator=torch.Generator().manual_seed(0)) for _ in range(2)]
    torch.testing.assert_close(draw[0], draw[1])
    quantiles = draw[0].quantile(torch.tensor([0.01, 0.25, 0.5, 0.75, 0.99]))
    torch.testing.assert_close(quantiles, torch.tensor([0.096, 0.362, 0.538, 0.712, 0.968]), rtol=0, atol=0.01)


def test_extreme_numbers_stay_times() -> None:
    assert (1 - truncated_logistic(torch.tensor([-20.0, 20.0]))).tolist() == pytest.approx([1, 0], abs=1e-6)
