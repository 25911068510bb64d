"""Tests T3, T4 and T13 to T15 of the specification of the reinforcement learning: losses, divergences and weights."""

import math

import pytest
import torch
from torch import Tensor

from prismaudio.flow.kernels import EulerMaruyamaKernel, RhoKernel, Transition
from prismaudio.flow.randomness import generator, normal
from prismaudio.flow.times import uniform_grid
from prismaudio.training.grpo.advantages import WeightedSumAdvantage
from prismaudio.training.grpo.divergence import Divergence, divergence
from prismaudio.training.grpo.losses import ClippedLoss, GuardedLoss, MaskedLoss, PolicyLoss, ReinforceLoss
from prismaudio.training.grpo.weighting import NoiseWeighting, RectifiedWeighting, StepWeighting, UniformWeighting
from prismaudio.training.grpo.windows import AllSteps, Window

ADVANTAGES = torch.tensor([1.5, -0.5, 0.3, -2.0])
ALL = [ClippedLoss(), MaskedLoss(), ReinforceLoss(), ClippedLoss(0.2, reduction="sum")]


def steps(moved: float = 0.0) -> tuple[Transition, Transition, Tensor]:
    """A new and an old step, and latents that were drawn from the old one."""
    old = Transition(normal((4, 3, 5), "mean"), torch.tensor([0.2, 0.5, 0.7, 1.0]))
    new = Transition((old.mean + moved * normal((4, 3, 5), "move")).requires_grad_(), old.std)
    return new, old, old.sample(normal((4, 3, 5), "noise"))


# T3 -------------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("loss", ALL, ids=lambda loss: type(loss).__name__)
def test_at_first_every_loss_has_the_policy_gradient(loss: PolicyLoss) -> None:
    new, old, latents = steps()
    terms, seen = loss.loss(new, old, latents, ADVANTAGES)
    assert terms.shape == (4,)
    (found,) = torch.autograd.grad(terms.mean(), new.mean)
    (expected,) = torch.autograd.grad(-(ADVANTAGES * new.log_prob(latents, loss.reduction)).mean(), new.mean)
    torch.testing.assert_close(found, expected)
    assert (seen["ratio"], seen["ratio_error"], seen["clip_fraction"], seen["shift"]) == (1, 0, 0, 0)


def test_the_guarded_gradient_is_the_same_but_for_the_noise() -> None:
    new, old, latents = steps()
    (found,) = torch.autograd.grad(GuardedLoss().loss(new, old, latents, ADVANTAGES)[0].mean(), new.mean)
    (expected,) = torch.autograd.grad(-(old.std * ADVANTAGES * new.log_prob(latents)).mean(), new.mean)
    torch.testing.assert_close(found, expected)


def test_statistics_are_those_of_the_batch() -> None:
    new, old, latents = steps(0.1)
    _, seen = ClippedLoss(1e-2).loss(new, old, latents, ADVANTAGES)
    ratio = (new.log_prob(latents) - old.log_prob(latents)).exp().detach()
    assert float(seen["ratio"]) == pytest.approx(float(ratio.mean()))
    assert float(seen["ratio_error"]) == pytest.approx(float((ratio - 1).abs().max()))
    assert float(seen["above_one"]) == float((ratio > 1).float().mean())
    assert float(seen["clip_fraction"]) == float(((ratio - 1).abs() > 1e-2).float().mean())
    assert float(seen["shift"]) == pytest.approx(float(new.shift(old).detach().mean()))
    assert not any(value.requires_grad for value in seen.values())


# The clip ------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("ratio", "advantage", "expected"),
    [(1.5, 1, -1.2), (0.5, 1, -0.5), (1.5, -1, 1.5), (0.5, -1, 0.8), (1.1, 1, -1.1), (0.95, -1, 0.95)],
)
def test_the_ratio_earns_nothing_beyond_the_clip(ratio: float, advantage: float, expected: float) -> None:
    terms, limited = ClippedLoss(0.2).clipped(torch.tensor([ratio]), torch.tensor([advantage]))
    assert float(terms) == pytest.approx(expected)
    assert bool(limited) == (abs(ratio - 1) > 0.2)


def test_above_one_the_clip_may_be_wider() -> None:
    terms, _ = ClippedLoss(0.2, 0.3).clipped(torch.tensor([1.5, 0.5]), torch.tensor([1.0, -1.0]))
    torch.testing.assert_close(terms, torch.tensor([-1.3, 0.8]))


# T13 ------------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("loss", [ClippedLoss(0.2), GuardedLoss(0.2), MaskedLoss(0.1), ReinforceLoss()])
def test_a_bandit_finds_the_best_arm(loss: PolicyLoss) -> None:
    mean, std, groups = torch.zeros(1, requires_grad=True), torch.full((16,), 0.5), torch.zeros(16, dtype=torch.long)
    optimizer = torch.optim.Adam([mean], lr=0.05)
    for step in range(200):
        old = Transition(mean.detach().expand(16, 1), std)
        latents = old.sample(normal((16, 1), "bandit", step))
        rewards = {"near": -(latents[:, 0] - 2).square()}
        advantages = WeightedSumAdvantage().estimate(rewards, groups, {"near": 1.0})
        terms, _ = loss.loss(Transition(mean.expand(16, 1), std), old, latents, advantages)
        optimizer.zero_grad()
        terms.mean().backward()
        optimizer.step()
    assert float(mean.detach()) == pytest.approx(2, abs=0.15)


# T14 ------------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("std", [0.1, 0.5, 1.5])
def test_the_guarded_ratio_has_mean_1_and_one_spread(std: float) -> None:
    n, draws, change = 64, 40_000, 0.02
    old = Transition(torch.zeros(draws, n), torch.full((draws,), std))
    new = Transition(old.mean + change, old.std)
    latents = old.sample(torch.randn(draws, n, generator=generator("guard", 1)))
    terms, _ = GuardedLoss(1.0).loss(new, old, latents, -torch.ones(draws))
    assert abs(float(terms.log().mean())) < 3 * change / math.sqrt(n * draws)
    assert float(terms.log().var()) == pytest.approx(change**2 / n, rel=0.03)


# T15 ------------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("far", [True, False])
@pytest.mark.parametrize("advantage", [1.0, -1.0])
@pytest.mark.parametrize("above", [True, False])
def test_what_moved_far_with_its_advantage_is_left_out(far: bool, advantage: float, above: bool) -> None:  # noqa: FBT001
    old = Transition(torch.zeros(1, 4), torch.ones(1))
    new = Transition(torch.full((1, 4), 0.1 if far else 1e-4).requires_grad_(), torch.ones(1))
    latents = torch.full((1, 4), 3.0 if above else -3.0)
    terms, seen = MaskedLoss(1e-5).loss(new, old, latents, torch.tensor([advantage]))
    left_out = far and (above == (advantage > 0))
    assert bool(seen["above_one"]) == above
    assert bool(seen["clip_fraction"]) == left_out
    assert bool(torch.autograd.grad(terms.sum(), new.mean)[0].any()) != left_out


# T4, the forms of the divergence --------------------------------------------------------------------------------------
GRID = uniform_grid(24)
NOW, LATER = GRID[[0, 5, 12, 22]], GRID[[1, 6, 13, 23]]


@pytest.mark.parametrize("kernel", [EulerMaruyamaKernel(0.7), RhoKernel(0.7)])
def test_forms_of_the_divergence(kernel: EulerMaruyamaKernel | RhoKernel) -> None:
    x, v, other = (normal((4, 3, 5), key) for key in ("x", "v", "other"))
    new, reference = kernel.transition(v, x, NOW, LATER), kernel.transition(other, x, NOW, LATER)

    def found(form: Divergence) -> Tensor:
        return divergence(new, reference, kernel, NOW, LATER, form)

    torch.testing.assert_close(found("flow_grpo"), found("exact") / 24)
    torch.testing.assert_close(found("velocity"), (v - other).square().mean((1, 2)))
    summed = divergence(new, reference, kernel, NOW, LATER, reduction="sum")
    torch.testing.assert_close(summed, 15 * found("exact"))


def test_the_exact_divergence_is_the_papers() -> None:
    x, v, other = (normal((3, 3, 5), key) for key in ("x", "v", "other"))
    t, t_next, kernel = NOW[1:], LATER[1:], EulerMaruyamaKernel(0.7)
    new, reference = kernel.transition(v, x, t, t_next), kernel.transition(other, x, t, t_next)
    g = 0.7 * (t / (1 - t)).sqrt()
    scale = (t - t_next) / 2 * (1 / g + g * (1 - t) / (2 * t)).square()
    expected = scale * (v - other).square().mean((1, 2))
    torch.testing.assert_close(divergence(new, reference, kernel, t, t_next), expected)


def test_the_divergence_has_a_gradient() -> None:
    kernel, v = EulerMaruyamaKernel(0.7), normal((4, 3, 5), "v").requires_grad_()
    x, other = normal((4, 3, 5), "x"), normal((4, 3, 5), "other")
    new, reference = kernel.transition(v, x, NOW, LATER), kernel.transition(other, x, NOW, LATER)
    divergence(new, reference, kernel, NOW, LATER).sum().backward()
    assert v.grad is not None
    assert v.grad.abs().min() > 0


# Weights of steps -----------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("weighting", [UniformWeighting(), RectifiedWeighting(), NoiseWeighting()])
def test_weights_have_mean_1_over_all_random_steps(weighting: StepWeighting) -> None:
    kernel, every = EulerMaruyamaKernel(0.7), AllSteps().window(24, 0, 0)
    found = weighting.weights(kernel, GRID, every)
    assert len(found) == 23
    assert float(found.mean()) == pytest.approx(1)
    torch.testing.assert_close(weighting.weights(kernel, GRID, Window(4, 6)), found[4:6])


def test_a_kernel_that_is_stochastic_last_step_has_weights_to_the_end() -> None:
    class Endless(EulerMaruyamaKernel):
        stochastic_last_step = True

    found = NoiseWeighting().weights(Endless(0.3, "dance"), GRID, Window(22, 24))
    assert len(found) == 2
    assert float(NoiseWeighting().weights(Endless(0.3, "dance"), GRID, Window(0, 24)).mean()) == pytest.approx(1)


def test_rectified_gradients_have_one_size() -> None:
    kernel, every = EulerMaruyamaKernel(0.7), AllSteps().window(24, 0, 0)
    sizes = RectifiedWeighting().weights(kernel, GRID, every) * kernel.kappa(GRID[:-2], GRID[1:-1])
    torch.testing.assert_close(sizes, sizes[:1].expand(23))
    noise = NoiseWeighting().weights(kernel, GRID, every)
    assert float(noise[2] / noise[12]) == pytest.approx(
        math.sqrt(float((GRID[2] / (1 - GRID[2])) / (GRID[12] / (1 - GRID[12])))), rel=1e-4
    )
