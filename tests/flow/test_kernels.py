"""Tests T1, T4 to T8 of the specification of the reinforcement learning."""

import math

import pytest
import torch
from torch import Tensor

from prismaudio.errors import PrismAudioError
from prismaudio.flow.kernels import EulerMaruyamaKernel, OdeKernel, RhoKernel, Transition, TransitionKernel
from prismaudio.flow.randomness import generator, normal
from prismaudio.flow.times import release_grid, shorten_tail, uniform_grid

RANDOM = [
    EulerMaruyamaKernel(0.7),
    EulerMaruyamaKernel(0.3, "dance"),
    RhoKernel(0.7),
    RhoKernel(0.3, "dance"),
    RhoKernel(0.7, "cps"),
]


def name(kernel: TransitionKernel) -> str:
    return "-".join([type(kernel).__name__, *map(str, kernel.__dict__.get("config", {}).values())])


each_kernel = pytest.mark.parametrize("kernel", RANDOM, ids=name)


def some(shape: tuple[int, ...] = (3, 4, 5), key: str = "x") -> Tensor:
    return normal(shape, key)


# T1 and T4: densities ------------------------------------------------------------------------------------------------
def pair() -> tuple[Transition, Transition]:
    std = torch.tensor([0.1, 0.5, 2.0])
    return Transition(some(key="new"), std), Transition(some(key="old"), std)


def independent(transition: Transition) -> torch.distributions.Distribution:
    std = transition.std[:, None, None].expand_as(transition.mean)
    return torch.distributions.Independent(torch.distributions.Normal(transition.mean, std), 2)


def test_the_density_is_that_of_independent_normal_numbers() -> None:
    new, _ = pair()
    torch.testing.assert_close(new.log_prob(some(), "sum"), independent(new).log_prob(some()))
    torch.testing.assert_close(20 * new.log_prob(some()), new.log_prob(some(), "sum"))


def test_samples_have_the_mean_and_the_deviation() -> None:
    transition = Transition(torch.full((2, 50_000), 3.0), torch.tensor([0.5, 2.0]))
    drawn = transition.sample(some((2, 50_000)))
    torch.testing.assert_close(drawn.mean(1), torch.tensor([3.0, 3.0]), rtol=0.02, atol=0)
    torch.testing.assert_close(drawn.std(1), transition.std, rtol=0.02, atol=0)


@pytest.mark.parametrize("factor", [1.0, 1.5])
def test_the_divergence_is_that_of_normal_distributions(factor: float) -> None:
    new, old = pair()
    old = Transition(old.mean, factor * old.std)
    expected = torch.distributions.kl_divergence(independent(new), independent(old))
    torch.testing.assert_close(new.kl(old, "sum"), expected)
    torch.testing.assert_close(20 * new.kl(old), expected)


def test_a_divergence_of_almost_equal_steps_is_not_lost_in_rounding() -> None:
    old = Transition(torch.zeros(1, 100), torch.tensor([0.3]))
    new = Transition(torch.full((1, 100), 1e-5), torch.tensor([0.3]))
    assert float(new.kl(old)) == pytest.approx(1e-10 / (2 * 0.09), rel=1e-5)
    assert float(old.kl(old)) == 0


# T5: the ratio after a change of the policy --------------------------------------------------------------------------
def test_the_log_ratio_leans_to_the_left() -> None:
    n, draws, delta = 64, 40_000, 0.1
    old = Transition(torch.zeros(draws, n), torch.full((draws,), 0.7))
    new = Transition(old.mean + 0.7 * delta, old.std)
    latents = old.sample(some((draws, n)))
    log_ratio = new.log_prob(latents) - old.log_prob(latents)
    torch.testing.assert_close(new.shift(old), torch.full((draws,), delta**2))
    error = delta / math.sqrt(n) / math.sqrt(draws)
    assert abs(float(log_ratio.mean()) + delta**2 / 2) < 3 * error
    assert float(log_ratio.std()) == pytest.approx(delta / math.sqrt(n), rel=0.02)


# T6: how much the velocity matters -----------------------------------------------------------------------------------
@each_kernel
@pytest.mark.parametrize("step", [0, 5, 12, 20])
def test_the_mean_follows_the_velocity_as_kappa_says(kernel: TransitionKernel, step: int) -> None:
    grid, velocity = uniform_grid(24), some((1, 7)).requires_grad_()
    t, t_next = grid[step : step + 1], grid[step + 1 : step + 2]
    transition = kernel.transition(velocity, some((1, 7), "latents"), t, t_next)
    transition.mean.sum().backward()
    assert velocity.grad is not None
    torch.testing.assert_close(velocity.grad[0].abs(), (kernel.kappa(t, t_next) * transition.std).expand(7))


def test_kappa_is_the_published_formula() -> None:
    grid = uniform_grid(24).double()
    t, t_next = grid[[6, 12, 18, 21]], grid[[7, 13, 19, 22]]
    g = 0.7 * (t / (1 - t)).sqrt()
    expected = (t - t_next).sqrt() * (1 / g + g * (1 - t) / (2 * t))
    torch.testing.assert_close(EulerMaruyamaKernel(0.7).kappa(t, t_next), expected.float())
    torch.testing.assert_close(expected, torch.tensor([0.21, 0.36, 0.63, 0.96]).double(), rtol=0, atol=0.01)


# T7 and T8: where the chain leads ------------------------------------------------------------------------------------
def spreads(kernel: TransitionKernel, steps: int, spread: float) -> Tensor:
    """Standard deviation of the latents at all times, without drawing: the velocity of ``N(1, spread^2)`` is affine."""
    grid = uniform_grid(steps).double()
    variance, found = torch.ones(1, dtype=torch.float64), [1.0]
    for step in range(steps):
        t, t_next = grid[step : step + 1], grid[step + 1 : step + 2]
        slope = (t - (1 - t) * spread**2) / ((1 - t) ** 2 * spread**2 + t**2)
        numbers = (kernel if step < steps - 1 else OdeKernel()).step(t, t_next)
        variance = (numbers.keep + numbers.push * slope) ** 2 * variance + numbers.std**2
        found.append(float(variance.sqrt()))
    return torch.tensor(found, dtype=torch.float64)


@pytest.mark.parametrize("kernel", [OdeKernel(), *RANDOM[:3]], ids=name)
def test_many_steps_lead_to_the_data(kernel: TransitionKernel) -> None:
    assert abs(float(spreads(kernel, 200, 0.5)[-1]) / 0.5 - 1) < 0.01


@pytest.mark.parametrize("kernel", [OdeKernel(), *RANDOM[1:4]], ids=name)
def test_twice_the_steps_halve_the_error(kernel: TransitionKernel) -> None:
    coarse, fine = (abs(float(spreads(kernel, steps, 0.5)[-1]) / 0.5 - 1) for steps in (200, 400))
    assert coarse / fine == pytest.approx(2, rel=0.1)


@pytest.mark.parametrize(
    ("kernel", "spread", "steps", "expected"),
    [
        (OdeKernel(), 0.5, 10, 0.862),
        (OdeKernel(), 0.1, 24, 0.828),
        (EulerMaruyamaKernel(0.7), 0.5, 10, 0.959),
        (EulerMaruyamaKernel(0.7), 0.5, 24, 0.987),
        (EulerMaruyamaKernel(0.7), 0.5, 1000, 1.002),
        (EulerMaruyamaKernel(0.3, "dance"), 0.5, 24, 0.949),
        (EulerMaruyamaKernel(0.7, "dance"), 0.1, 24, 1.267),  # too noisy
        (RhoKernel(0.7, "cps"), 0.5, 24, 0.797),
        (RhoKernel(0.7, "cps"), 0.5, 1000, 0.849),  # does not converge
        (RhoKernel(0.7), 0.5, 24, 0.926),
        (RhoKernel(0.7), 0.1, 24, 0.804),
    ],
    ids=lambda value: name(value) if isinstance(value, TransitionKernel) else None,
)
def test_the_spread_of_the_samples_is_as_known(
    kernel: TransitionKernel, spread: float, steps: int, expected: float
) -> None:
    assert float(spreads(kernel, steps, spread)[-1]) / spread == pytest.approx(expected, abs=0.002)


@pytest.mark.parametrize("kernel", RANDOM[2:], ids=name)
def test_no_noise_is_left_over_with_exact_kernels(kernel: TransitionKernel) -> None:
    torch.testing.assert_close(spreads(kernel, 10, 0.0), uniform_grid(10).double(), rtol=0, atol=1e-6)


def test_noise_is_left_over_with_the_published_kernel() -> None:
    ratio = spreads(EulerMaruyamaKernel(0.7), 10, 0.0)[1:-1] / uniform_grid(10).double()[1:-1]
    expected = torch.tensor([1.07, 1.11, 1.11, 1.12, 1.12, 1.13, 1.15, 1.19, 1.38])
    torch.testing.assert_close(ratio, expected.double(), rtol=0, atol=0.006)


# Other facts ---------------------------------------------------------------------------------------------------------
@each_kernel
def test_in_short_steps_all_kernels_of_an_equation_agree(kernel: TransitionKernel) -> None:
    t, t_next, x, v = torch.tensor([0.6]), torch.tensor([0.5999]), some((1, 9)), some((1, 9), "v")
    other = RhoKernel if isinstance(kernel, EulerMaruyamaKernel) else EulerMaruyamaKernel
    if kernel.config["schedule"] == "cps":
        return  # no equation stands behind it
    mine, its = kernel.transition(v, x, t, t_next), other(**kernel.config).transition(v, x, t, t_next)
    torch.testing.assert_close(mine.mean - x, its.mean - x, rtol=0.01, atol=1e-6)
    torch.testing.assert_close(mine.std, its.std, rtol=0.01, atol=0)


@each_kernel
def test_the_last_step_of_an_exact_kernel_is_deterministic(kernel: TransitionKernel) -> None:
    x, v, t, zero = some((1, 9)), some((1, 9), "v"), torch.tensor([0.1]), torch.zeros(1)
    last = kernel.transition(v, x, t, zero)
    assert not kernel.stochastic_last_step
    if isinstance(kernel, RhoKernel):
        assert last.std == 0
        torch.testing.assert_close(last.mean, x - 0.1 * v)


def test_every_row_has_a_time_of_its_own_and_latents_any_rank() -> None:
    grid, kernel = uniform_grid(10), EulerMaruyamaKernel(0.7)
    for shape in ((3,), (3, 2), (3, 2, 4), (3, 2, 4, 5)):
        x, v = some(shape), some(shape, "v")
        whole = kernel.transition(v, x, grid[[0, 4, 8]], grid[[1, 5, 9]])
        alone = kernel.transition(v[1:2], x[1:2], grid[4:5], grid[5:6])
        torch.testing.assert_close(whole.mean[1:2], alone.mean, rtol=0, atol=0)
        torch.testing.assert_close(whole.std[1:2], alone.std, rtol=0, atol=0)


def test_steps_are_computed_in_float32_and_times_near_1_are_no_trouble() -> None:
    x, v = some().bfloat16(), some(key="v").bfloat16()
    made = RhoKernel(0.7).transition(v, x, torch.tensor([1.0, 0.9999, 0.5]), torch.tensor([0.9999, 0.9, 0.4]))
    assert made.mean.dtype == made.std.dtype == torch.float32
    assert made.mean.isfinite().all()
    assert made.std[0] == pytest.approx(0.9999)


@pytest.mark.parametrize("kind", [EulerMaruyamaKernel, RhoKernel])
def test_a_kernel_without_noise_is_refused(kind: type[RhoKernel]) -> None:
    with pytest.raises(PrismAudioError, match="give it more than 0, or use OdeKernel"):
        kind(0.0)
    with pytest.raises(PrismAudioError, match="at most 1"):
        RhoKernel(1.1, "cps")


def test_the_released_grid() -> None:
    grid = release_grid(24)
    assert (grid[0], grid[-2], grid[-1], len(grid)) == (1, torch.tensor(0.001), 0, 25)
    assert float(grid[1]) == pytest.approx(0.956565, abs=1e-6)


def test_a_shortened_grid_ends_at_0_and_keeps_its_beginning() -> None:
    grid = shorten_tail(uniform_grid(24), 6, 5)
    torch.testing.assert_close(grid[:7], uniform_grid(24)[:7], rtol=0, atol=0)
    assert len(grid) == 12
    assert grid[-1] == 0
    assert (grid.diff() < 0).all()


def test_randomness_depends_on_the_key_alone() -> None:
    torch.manual_seed(1)
    first = normal((3,), 5, "clip", 2)
    torch.manual_seed(2)
    assert torch.equal(first, normal((3,), 5, "clip", 2))
    assert not torch.equal(first, normal((3,), 5, "clip", 3))
    assert generator(1, 23).initial_seed() != generator(12, 3).initial_seed()
