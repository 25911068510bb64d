import math

import pytest
import torch

from prismaudio.errors import PrismAudioError
from prismaudio.models.dit import ConditioningCache
from prismaudio.samplers.adams_bashforth import AdamsBashforthSampler
from prismaudio.samplers.base import GridSampler, Sampler
from prismaudio.samplers.euler import EulerSampler
from prismaudio.samplers.guidance import guided_velocity
from prismaudio.samplers.heun import HeunSampler
from prismaudio.samplers.midpoint import MidpointSampler
from prismaudio.samplers.runge_kutta import RungeKuttaSampler
from prismaudio.types import Conditions, Features

KINDS = [EulerSampler, HeunSampler, MidpointSampler, AdamsBashforthSampler, RungeKuttaSampler]


@pytest.mark.parametrize("sampler", [kind(5) for kind in KINDS])
def test_a_straight_flow_is_followed_exactly(sampler: Sampler) -> None:
    data, noise = torch.randn(2, 3, 4), torch.randn(2, 3, 4)
    torch.testing.assert_close(sampler.sample(lambda x, t: noise - data, noise), data)


def error(sampler: Sampler) -> float:
    """Distance from the exact end of dx/dt = x from 1 to 0."""
    end = sampler.sample(lambda x, t: x, torch.ones(1, 1, 1, dtype=torch.float64))
    return abs(float(end) - math.exp(-1))


@pytest.mark.parametrize(
    ("kind", "order"),
    [
        *[(EulerSampler, 1), (HeunSampler, 2), (MidpointSampler, 2), (AdamsBashforthSampler, 2)],
        (RungeKuttaSampler, 4),
    ],
)
def test_twice_the_steps_make_the_error_smaller_by_the_order(kind: type[GridSampler], order: int) -> None:
    assert error(kind(4)) / error(kind(8)) == pytest.approx(2**order, rel=0.2)


def test_adams_bashforth_is_exact_for_a_velocity_linear_in_time_on_any_grid() -> None:
    grid = torch.tensor([1.0, 0.95, 0.7, 0.6, 0.1, 0.0], dtype=torch.float64)
    start = torch.zeros(1, 1, 1, dtype=torch.float64)
    end = AdamsBashforthSampler().follow(lambda x, t: t[:, None, None].expand_as(x), start, grid)
    assert float(end) == pytest.approx(-0.5 - 0.05 * (1 - 0.975), abs=1e-9)  # but for the first step, which is Euler's


@pytest.mark.parametrize(
    ("sampler", "count"),
    [
        *[(EulerSampler(), 24), (HeunSampler(), 24), (MidpointSampler(), 24), (RungeKuttaSampler(), 24)],
        (AdamsBashforthSampler(), 12),
    ],
)
def test_a_sampler_evaluates_as_many_velocities_as_its_documentation_says(sampler: Sampler, count: int) -> None:
    times: list[float] = []

    def velocity(latents: torch.Tensor, at: torch.Tensor) -> torch.Tensor:
        times.extend(at.tolist())
        return latents

    sampler.sample(velocity, torch.zeros(1, 1, 1))
    assert len(times) == count
    assert max(times) == 1
    assert min(times) >= 0


@pytest.mark.parametrize("kind", KINDS)
def test_no_steps_are_refused(kind: type[GridSampler]) -> None:
    with pytest.raises(PrismAudioError, match=f"{kind.__name__} cannot make 0 steps"):
        kind(0)


def test_steps_are_reported_and_can_be_stopped() -> None:
    seen = []
    EulerSampler(3).sample(lambda x, t: x, torch.zeros(1, 1, 1), lambda done, total: seen.append((done, total)))
    assert seen == [(1, 3), (2, 3), (3, 3)]

    def stop(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        HeunSampler(3).sample(lambda x, t: x, torch.zeros(1, 1, 1), stop)


class Echo:
    """A transformer whose velocity is the mean of its text."""

    def cache_conditions(
        self, conditions: Conditions, n_frames: int, mask: torch.Tensor | None = None
    ) -> ConditioningCache:
        return ConditioningCache((torch.zeros(0), torch.zeros(0)), conditions["text"].values.mean((1, 2)))

    def __call__(
        self, latents: torch.Tensor, times: torch.Tensor, cache: ConditioningCache, mask: object = None
    ) -> torch.Tensor:
        assert cache.added is not None
        return cache.added[:, None, None] * torch.ones_like(latents) * torch.arange(1.0, 1 + latents.shape[1])[:, None]


def test_guidance_goes_beyond_the_conditional_velocity_away_from_the_other() -> None:
    def told(value: float) -> Conditions:
        return Conditions(text=Features(torch.full((1, 2, 2), value), torch.ones(1, 2, dtype=torch.bool)))

    latents, times = torch.zeros(1, 3, 2), torch.ones(1)
    channel = torch.arange(1.0, 4)[:, None]
    for scale, negative, expected in [(1.0, None, 2.0), (3.0, None, 6.0), (3.0, told(1.0), 4.0)]:
        velocity = guided_velocity(Echo(), told(2.0), 2, scale, negative=negative)  # type: ignore[arg-type]
        torch.testing.assert_close(velocity(latents, times)[0], expected * channel.expand(3, 2))
    rescaled = guided_velocity(Echo(), told(2.0), 2, 3.0, rescale=1.0)  # type: ignore[arg-type]
    torch.testing.assert_close(rescaled(latents, times)[0], 2 * channel.expand(3, 2))


class Counting(Echo):
    """Remembers the batch sizes that it was called with."""

    def __init__(self) -> None:
        self.batches: list[int] = []

    def __call__(
        self, latents: torch.Tensor, times: torch.Tensor, cache: ConditioningCache, mask: object = None
    ) -> torch.Tensor:
        self.batches.append(len(latents))
        return super().__call__(latents, times, cache, mask)


def test_outside_its_interval_guidance_costs_nothing() -> None:
    conditions = Conditions(text=Features(torch.full((2, 2, 2), 2.0), torch.ones(2, 2, dtype=torch.bool)))
    network, latents = Counting(), torch.zeros(2, 1, 1)
    velocity = guided_velocity(network, conditions, 1, 3.0, interval=(0.2, 0.8))  # type: ignore[arg-type]
    outside = velocity(latents, torch.tensor([0.9, 0.1]))
    inside = velocity(latents, torch.tensor([0.8, 0.2]))
    mixed = velocity(latents, torch.tensor([0.5, 0.9]))
    assert (outside.flatten().tolist(), inside.flatten().tolist()) == ([2, 2], [6, 6])
    assert mixed.flatten().tolist() == [6, 2]
    assert network.batches == [2, 4, 4]
    with pytest.raises(PrismAudioError, match="lower end first"):
        guided_velocity(network, conditions, 1, 3.0, interval=(0.8, 0.2))  # type: ignore[arg-type]
