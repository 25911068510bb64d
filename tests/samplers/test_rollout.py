"""Tests T2, T9 and T10 of the specification of the reinforcement learning: rolling out and replaying."""

import pytest
import torch
from torch import Tensor, nn

from prismaudio.errors import PrismAudioError
from prismaudio.flow.kernels import EulerMaruyamaKernel, OdeKernel, RhoKernel, TransitionKernel
from prismaudio.flow.randomness import normal
from prismaudio.flow.times import uniform_grid
from prismaudio.samplers.base import GridSampler
from prismaudio.samplers.euler import EulerSampler
from prismaudio.samplers.heun import HeunSampler
from prismaudio.samplers.rollout import Rollout, replay, rollout
from prismaudio.training.grpo.losses import ClippedLoss
from prismaudio.training.grpo.windows import AllSteps, Window

SHAPE, GRID = (4, 6), uniform_grid(10)


class Network(nn.Module):
    """A small velocity that counts the rows that it is given."""

    def __init__(self, latents: tuple[int, ...] = SHAPE) -> None:
        super().__init__()
        width = torch.Size(latents).numel()
        torch.manual_seed(0)
        self.layers = nn.Sequential(nn.Linear(width + 1, 32), nn.SiLU(), nn.Linear(32, width))
        self.evaluations = 0

    def forward(self, latents: Tensor, times: Tensor) -> Tensor:
        self.evaluations += len(latents)
        return self.layers(torch.cat([latents.flatten(1), times[:, None]], 1)).view_as(latents)


def rolled(
    window: Window,
    kernel: TransitionKernel | None = None,
    rows: int = 2,
    branch_size: int = 3,
    network: Network | None = None,
    solver: GridSampler | None = None,
) -> Rollout:
    network = network or Network()
    return rollout(
        network,
        normal((rows, *SHAPE), "start"),
        GRID,
        window,
        kernel or EulerMaruyamaKernel(0.7),
        lambda step: normal((rows * branch_size, *SHAPE), "draw", step),
        branch_size=branch_size,
        prefix=network,
        solver=solver,
    )


# T2 -------------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("kernel", [EulerMaruyamaKernel(0.7), RhoKernel(1.0), RhoKernel(0.5, "cps")])
@pytest.mark.parametrize("window", [Window(0, 2), Window(3, 6), AllSteps().window(10, 0, 0)])
def test_the_replay_of_a_step_is_that_step_exactly(kernel: TransitionKernel, window: Window) -> None:
    network = Network()
    made = rolled(window, kernel, network=network)
    for index in range(len(window)):
        new = replay(network, made, index)
        terms, seen = ClippedLoss().loss(new, made.transition(index), made.states[index + 1], torch.ones(6))
        assert (seen["ratio"], seen["ratio_error"], seen["shift"]) == (1, 0, 0)
        (gradient,) = torch.autograd.grad(terms.sum(), network.layers[0].weight)
        assert gradient.any()


@pytest.mark.parametrize("start", [0, 3])
def test_branches_can_share_their_first_stochastic_step(start: int) -> None:
    window, gradients, evaluations = Window(start, start + 2), [], []
    for share in (False, True):
        network = Network()
        made = rollout(
            network,
            normal((2, *SHAPE), "start"),
            GRID,
            window,
            RhoKernel(1.0),
            lambda step: normal((6, *SHAPE), "draw", step),
            branch_size=3,
            prefix=network,
            share_first=share,
        )
        made = made.rows(slice(3, 6))  # a whole branch
        terms = []
        for index in range(2):
            new = replay(network, made, index, network)
            loss, seen = ClippedLoss().loss(
                new, made.transition(index), made.states[index + 1], torch.tensor([1.0, 0.5, -2.0])
            )
            assert seen["ratio_error"] < 1e-6  # the shared step is of one row here and of two in the rollout
            terms.append(loss.sum())
        gradients.append(torch.autograd.grad(terms[0] + terms[1], network.layers[0].weight)[0])
        evaluations.append(network.evaluations)
    torch.testing.assert_close(gradients[0], gradients[1], rtol=1e-4, atol=1e-7)
    assert evaluations[0] - evaluations[1] == (6 - 2) + (3 - 1)
    with pytest.raises(PrismAudioError, match="branches of 3 share the step"):
        replay(network, made, 0)


def test_some_candidates_are_replayed_as_all_are() -> None:
    made, network, rows = rolled(Window(3, 5)), Network(), torch.tensor([4, 1])
    some = made.rows(rows)
    torch.testing.assert_close(replay(network, some, 1).mean, replay(network, made, 1).mean[rows])
    torch.testing.assert_close(some.latents, made.latents[rows])
    assert some.times(0)[0].tolist() == [GRID[3]] * 2


def test_a_rollout_holds_what_was_drawn() -> None:
    made = rolled(Window(3, 5))
    assert made.states.shape == (3, 6, *SHAPE)
    for index, step in enumerate(made.window):
        drawn = made.transition(index).sample(normal((6, *SHAPE), "draw", step))
        torch.testing.assert_close(made.states[index + 1], drawn, rtol=0, atol=0)
        assert [float(time[0]) for time in made.times(index)] == [float(GRID[step]), float(GRID[step + 1])]
    assert not made.states.requires_grad
    assert made.to("cpu").latents.equal(made.latents)


def test_states_are_float32_whatever_the_network_computes_in() -> None:
    made = rollout(
        lambda x, t: (x * 0.3).bfloat16(), normal((2, 5), "x"), GRID, Window(2, 4), RhoKernel(0.7),
        lambda step: normal((2, 5), step),
    )  # fmt: skip
    assert made.states.dtype == made.means.dtype == made.latents.dtype == torch.float32


# T9 -------------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("solver", [EulerSampler(10), HeunSampler(10)])
@pytest.mark.parametrize("at", [0, 4, 10])
def test_without_a_window_it_is_the_deterministic_sampler(solver: GridSampler, at: int) -> None:
    made = rolled(Window(at, at), branch_size=1, solver=solver)
    with torch.no_grad():
        expected = solver.sample(Network(), normal((2, *SHAPE), "start"))
    assert torch.equal(made.latents, expected)
    assert (len(made.states), len(made.means), len(made.stds)) == (1, 0, 0)


def test_before_and_after_the_window_it_is_the_deterministic_sampler() -> None:
    made, sampler = rolled(Window(4, 6), branch_size=1), EulerSampler()
    with torch.no_grad():
        assert torch.equal(made.states[0], sampler.follow(Network(), normal((2, *SHAPE), "start"), GRID[:5]))
        assert torch.equal(made.latents, sampler.follow(Network(), made.states[-1], GRID[6:]))


def test_with_all_steps_in_the_window_every_step_is_random() -> None:
    made, network, kernel = rolled(AllSteps().window(10, 0, 0), branch_size=1), Network(), EulerMaruyamaKernel(0.7)
    latents = normal((2, *SHAPE), "start")
    with torch.no_grad():
        for step in range(9):
            t, t_next = GRID[step].expand(2), GRID[step + 1].expand(2)
            noise = normal((2, *SHAPE), "draw", step)
            latents = kernel.transition(network(latents, t), latents, t, t_next).sample(noise)
        latents = latents - GRID[9] * network(latents, GRID[9].expand(2))
    torch.testing.assert_close(made.latents, latents)


# T10 ------------------------------------------------------------------------------------------------------------------
def test_a_branch_is_one_sample_until_the_window_and_differs_after_it() -> None:
    made = rolled(Window(4, 6), rows=2, branch_size=3)
    branches = made.states.view(3, 2, 3, -1)
    assert (branches[0] == branches[0][:, :1]).all()
    assert ((branches[1] - branches[1].roll(1, 1)).abs().amax(-1) > 0.01).all()
    assert ((made.latents.view(2, 3, -1) - made.latents.view(2, 3, -1).roll(1, 1)).abs().amax(-1) > 0.01).all()
    alone = rolled(Window(4, 6), rows=2, branch_size=1)
    torch.testing.assert_close(made.states[0, ::3], alone.states[0])


@pytest.mark.parametrize(("start", "rows", "branch_size"), [(0, 2, 8), (4, 1, 16), (6, 2, 8), (4, 16, 1)])
def test_the_network_is_evaluated_as_often_as_the_formula_says(start: int, rows: int, branch_size: int) -> None:
    network = Network()
    rolled(Window(start, start + 2), rows=rows, branch_size=branch_size, network=network)
    per_sample = 10 - start * (1 - 1 / branch_size)
    assert network.evaluations / (rows * branch_size) == pytest.approx(per_sample)


def test_latents_of_a_row_do_not_depend_on_its_neighbours() -> None:
    def draw(step: int) -> Tensor:
        return normal((6, *SHAPE), "draw", step)

    noise, network = normal((2, *SHAPE), "start"), Network()
    one = rollout(
        network, noise[:1], GRID, Window(3, 5), RhoKernel(0.7), lambda s: draw(s)[:3], branch_size=3, prefix=network
    )
    two = rollout(network, noise, GRID, Window(3, 5), RhoKernel(0.7), draw, branch_size=3, prefix=network)
    torch.testing.assert_close(one.latents, two.latents[:3])


# What is refused ------------------------------------------------------------------------------------------------------
def test_the_last_step_is_not_random() -> None:
    with pytest.raises(
        PrismAudioError, match="steps 8 to 9 cannot all be stochastic with EulerMaruyamaKernel and 10 steps"
    ):
        rolled(Window(8, 10))

    class ToTheEnd(EulerMaruyamaKernel):
        stochastic_last_step = True

    assert rolled(Window(8, 10), ToTheEnd(0.7)).latents.isfinite().all()


def test_a_step_without_noise_cannot_be_trained() -> None:
    with pytest.raises(PrismAudioError, match="OdeKernel has steps without noise"):
        rolled(Window(3, 5), OdeKernel())


def test_branches_need_a_prefix() -> None:
    with pytest.raises(PrismAudioError, match="pass their velocity as prefix"):
        rollout(
            Network(),
            normal((1, *SHAPE), "x"),
            GRID,
            Window(3, 5),
            RhoKernel(0.7),
            lambda _: torch.zeros(()),
            branch_size=2,
        )
