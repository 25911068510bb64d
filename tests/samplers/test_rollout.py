"""Tests T2, T9 and T10 of the specification of the reinforcement learning: rolling out and replaying."""

import pytest
import torch
from torch import Tensor, nn

from prismaudio.errors import PrismAudioError
from prismaudio.flow.kernels import EulerMaruyamaKernel, OdeKernel, RhoKernel, TransitionKernel
from prismaudio.flow.randomness import normal
from prismaudio.flow.times import shorten_tail, uniform_grid
from prismaudio.samplers.base import GridSampler
from prismaudio.samplers.euler import EulerSampler
from prismaudio.samplers.heun import HeunSampler
from prismaudio.samplers.midpoint import MidpointSampler
from prismaudio.samplers.rollout import Rollout, Trajectory, n_evaluations, replay, rollout
from prismaudio.samplers.runge_kutta import RungeKuttaSampler
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


def drawn(window: Window, rows: int) -> Tensor:
    return torch.cat([normal((1, rows, *SHAPE), "draw", step) for step in window] or [torch.zeros(0, rows, *SHAPE)])


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
        lambda _: network,
        normal((rows, *SHAPE), "start"),
        drawn(window, rows * branch_size),
        [Trajectory(GRID, window)] * rows,
        kernel or EulerMaruyamaKernel(0.7),
        branch_size=branch_size,
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
            lambda _, network=network: network,
            normal((2, *SHAPE), "start"),
            drawn(window, 6),
            [Trajectory(GRID, window)] * 2,
            RhoKernel(1.0),
            branch_size=3,
            share_first=share,
        )
        made = made.rows(torch.tensor([3, 4, 5]))  # a whole branch
        terms = []
        for index in range(2):
            new = replay(network, made, index)
            loss, seen = ClippedLoss().loss(
                new, made.transition(index), made.states[index + 1], torch.tensor([1.0, 0.5, -2.0])
            )
            assert seen["ratio_error"] < 1e-6  # the shared step is of one row here and of two in the rollout
            terms.append(loss.sum())
        gradients.append(torch.autograd.grad(terms[0] + terms[1], network.layers[0].weight)[0])
        evaluations.append(network.evaluations)
    torch.testing.assert_close(gradients[0], gradients[1], rtol=1e-4, atol=1e-7)
    assert evaluations[0] - evaluations[1] == (6 - 2) + (3 - 1)


def test_some_candidates_are_replayed_as_all_are() -> None:
    made, network, rows = rolled(Window(3, 5)), Network(), torch.tensor([4, 1])
    some = made.rows(rows)
    torch.testing.assert_close(replay(network, some, 1).mean, replay(network, made, 1).mean[rows])
    torch.testing.assert_close(some.latents, made.latents[rows])
    assert some.times(0)[0].tolist() == [GRID[3]] * 2


def test_a_rollout_holds_what_was_drawn() -> None:
    made = rolled(Window(3, 5))
    assert made.states.shape == (3, 6, *SHAPE)
    for index, step in enumerate([3, 4]):
        assert made.steps[index].tolist() == [step] * 6
        expected = made.transition(index).sample(normal((6, *SHAPE), "draw", step))
        torch.testing.assert_close(made.states[index + 1], expected, rtol=0, atol=0)
        assert [float(time[0]) for time in made.times(index)] == [float(GRID[step]), float(GRID[step + 1])]
    assert not made.states.requires_grad
    assert made.to("cpu").latents.equal(made.latents)


def test_states_are_float32_whatever_the_network_computes_in() -> None:
    made = rollout(
        lambda _: lambda x, t: (x * 0.3).bfloat16(), normal((2, 5), "x"), normal((2, 2, 5), "draw"),
        [Trajectory(GRID, Window(2, 4))] * 2, RhoKernel(0.7),
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


# Lockstep -------------------------------------------------------------------------------------------------------------
class Frames(nn.Module):
    """A velocity of latents ``(rows, 4, frames)`` that differs by row and by frame; it counts its calls and rows."""

    def __init__(self, biases: Tensor) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layers = nn.Sequential(nn.Linear(5, 32), nn.SiLU(), nn.Linear(32, 4))
        self.biases, self.calls, self.rows = biases, 0, 0

    def of_rows(self, rows: Tensor):
        def velocity(latents: Tensor, times: Tensor) -> Tensor:
            self.calls, self.rows = self.calls + 1, self.rows + len(rows)
            assert len(rows) == len(latents) == len(times)
            t = times[:, None, None].expand(-1, latents.shape[2], -1)
            made = self.layers(torch.cat([latents.transpose(1, 2), t], 2)).transpose(1, 2)
            return made + self.biases[rows][:, None, None]

        return velocity


SOLVERS = {EulerSampler(): 1, HeunSampler(): 2, MidpointSampler(): 2, RungeKuttaSampler(): 4}
WINDOWS = [Window(3, 5), Window(0, 2), Window(7, 9), Window(3, 5)]
TAILS = [shorten_tail(GRID, window.stop, 3) for window in WINDOWS]


def one_by_one(network: Frames, noise: Tensor, draws: Tensor, branch_size: int, grids, solver, kernel):
    """The same, one candidate after the other, in plain loops."""
    for row in range(draws.shape[1]):
        grid, window = grids[row // branch_size], WINDOWS[row // branch_size]
        x, velocity, states = noise[row // branch_size][None], network.of_rows(torch.tensor([row])), []
        if window.start:
            first = network.of_rows(torch.tensor([row // branch_size * branch_size]))
            x = solver.follow(first, x, grid[: window.start + 1])
        for index, step in enumerate(window):
            states.append(x[0])
            mean = kernel.transition(velocity(x, grid[step : step + 1]), x, *grid[step : step + 2].split(1))
            x = mean.sample(draws[index, row][None])
        yield torch.stack([*states, x[0], solver.follow(velocity, x, grid[window.stop :])[0]])


@pytest.mark.parametrize("solver", SOLVERS, ids=lambda solver: type(solver).__name__)
@pytest.mark.parametrize("grids", [[GRID] * 4, TAILS], ids=["whole", "short tails"])
@pytest.mark.parametrize(("share", "size"), [(False, None), (True, None), (True, 2), (False, 3)])
def test_in_lockstep_every_row_is_what_it_is_alone(solver, grids, share, size) -> None:
    network = Frames(torch.arange(4.0).repeat_interleave(3) / 10)  # the rows of a branch have equal conditions
    noise, draws, kernel = normal((4, 4, 7), "start"), normal((2, 12, 4, 7), "draw"), RhoKernel(0.7)
    with torch.no_grad():
        expected = torch.stack(list(one_by_one(network, noise, draws, 3, grids, solver, kernel)), 1)
    network.calls = network.rows = 0
    trajectories = [Trajectory(grid, window) for grid, window in zip(grids, WINDOWS, strict=True)]
    made = rollout(
        network.of_rows, noise, draws, trajectories, kernel,
        branch_size=3, solver=solver, share_first=share, window_batch_size=size,
    )  # fmt: skip
    torch.testing.assert_close(torch.cat([made.states, made.latents[None]]), expected, rtol=1e-6, atol=1e-6)
    cost, tails = SOLVERS[solver], [len(grid) - 1 - window.stop for grid, window in zip(grids, WINDOWS, strict=True)]
    heads = [window.start for window in WINDOWS]
    batches = {None: (1, 1), 2: (2, 6), 3: (2, 4)}[size]  # of four branches and twelve rows
    calls = cost * (max(heads) + max(tails)) + (batches[0] + batches[1] if share else 2 * batches[1])
    assert network.calls == calls
    if cost == 1:
        assert n_evaluations(trajectories, 3, share_first=share, window_batch_size=size) == calls
    assert network.rows == cost * (sum(heads) + 3 * sum(tails)) + (4 + 12 if share else 24)
    assert made.steps.tolist() == [[w.start + i for w in WINDOWS for _ in range(3)] for i in range(2)]


@pytest.mark.parametrize(("size", "share"), [(None, True), (2, True), (4, False)])
def test_the_replay_in_equal_batches_is_exact(size, share) -> None:
    network = Frames(torch.arange(12.0))
    noise, draws = normal((4, 4, 7), "start"), normal((2, 12, 4, 7), "draw")
    trajectories = [Trajectory(GRID, window) for window in WINDOWS]
    made = rollout(
        network.of_rows, noise, draws, trajectories, RhoKernel(0.7),
        branch_size=3, share_first=share, window_batch_size=size,
    )  # fmt: skip
    for index in range(2):
        each = made.evaluated(index)
        for rows in torch.arange(12).split((size or 12) * each):
            again = replay(network.of_rows(rows[::each]), made.rows(rows), index)
            assert torch.equal(again.mean, made.means[index, rows])


def test_padding_changes_no_density() -> None:
    network, lengths = Frames(torch.arange(2.0)), [7, 4]
    noise, draws = normal((2, 4, 7), "start"), normal((2, 2, 4, 7), "draw")
    mask = torch.arange(7) < torch.tensor(lengths)[:, None]
    trajectories = [Trajectory(GRID, window) for window in WINDOWS[:2]]
    made = rollout(network.of_rows, noise, draws, trajectories, RhoKernel(0.7), mask=mask)
    other = Frames(torch.arange(2.0))
    torch.nn.init.normal_(other.layers[0].weight)
    for row, length in enumerate(lengths):
        only = torch.tensor([row])
        short = (draws[:, only, :, :length], trajectories[row : row + 1], RhoKernel(0.7))
        alone = rollout(lambda _, only=only: network.of_rows(only), noise[only, :, :length], *short)
        torch.testing.assert_close(made.latents[only, :, :length], alone.latents)
        padded, plain = (
            (replay(other.of_rows(only), one, 1), one.transition(1), one.states[2]) for one in (made.rows(only), alone)
        )
        for reduction in ("mean", "sum"):
            found, expected = (
                [new.log_prob(x, reduction), new.kl(old, reduction), new.shift(old)] for new, old, x in (padded, plain)
            )
            torch.testing.assert_close(found, expected)
        (gradient,) = torch.autograd.grad(padded[0].log_prob(padded[2]), padded[0].mean)
        assert gradient[..., :length].all()
        assert not gradient[..., length:].any()


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("solver", SOLVERS, ids=lambda solver: type(solver).__name__)
def test_on_a_gpu_nothing_waits_for_the_device_and_rows_are_those_of_the_cpu(solver) -> None:
    noise, draws = normal((4, 4, 7), "start"), normal((2, 12, 4, 7), "draw")
    trajectories = [Trajectory(grid, window) for grid, window in zip(TAILS, WINDOWS, strict=True)]
    options = {"branch_size": 3, "solver": solver, "share_first": True, "window_batch_size": 5}
    expected = rollout(Frames(torch.arange(12.0)).of_rows, noise, draws, trajectories, RhoKernel(0.7), **options)
    network = Frames(torch.arange(12.0)).cuda()
    network.biases = network.biases.cuda()

    def of_rows(rows: Tensor):
        velocity = network.of_rows(rows)
        return lambda latents, times: velocity(latents, times.to("cuda", non_blocking=True))

    there = noise.cuda(), draws.cuda()
    torch.cuda.set_sync_debug_mode("error")
    try:
        made = rollout(of_rows, *there, trajectories, RhoKernel(0.7), **options)
        again = replay(of_rows(torch.arange(12, device="cuda")), made, 1)
        assert made.rows(torch.tensor([3, 4, 5])).latents.shape == (3, 4, 7)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    torch.testing.assert_close(made.latents.cpu(), expected.latents, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(again.mean, made.means[1], rtol=1e-4, atol=1e-5)


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


def test_windows_of_several_lengths_are_refused() -> None:
    trajectories = [Trajectory(GRID, window) for window in (Window(0, 2), Window(0, 1))]
    with pytest.raises(PrismAudioError, match="lengths 1, 2; expected one length"):
        rollout(lambda _: Network(), normal((2, *SHAPE), "x"), torch.zeros(2, 2, *SHAPE), trajectories, RhoKernel(0.7))
