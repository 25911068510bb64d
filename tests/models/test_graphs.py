"""Graphs of the transformer: the same velocities, whatever was replayed before."""

from __future__ import annotations

import logging
from dataclasses import fields, is_dataclass

import pytest
import torch

from prismaudio.models.conditioners import FeatureConditioner
from prismaudio.models.dit import DiffusionTransformer
from prismaudio.models.graphs import FIRST_STEPS, MAX_GRAPHS, GraphedTransformer, PaddedConditions
from prismaudio.samplers.euler import EulerSampler
from prismaudio.samplers.guidance import guided_velocity
from prismaudio.samplers.heun import HeunSampler
from prismaudio.samplers.runge_kutta import RungeKuttaSampler
from prismaudio.types import Conditions, Features


def repeat(function):
    """Stands for a CUDA graph on the CPU: a replay runs the function again, and fills its first result."""
    made = function()
    repeat.count += 1

    def replay():
        fill(made, function())

    return replay, made


def fill(target, source):
    """Copy all tensors of a result to those of an earlier one."""
    if isinstance(target, torch.Tensor):
        with torch.inference_mode(target.is_inference()):
            target.copy_(source)
    elif is_dataclass(target):
        for field in fields(target):
            fill(getattr(target, field.name), getattr(source, field.name))
    elif target is not None:
        for one, other in zip(target, source, strict=True):
            fill(one, other)


@pytest.fixture
def network():
    torch.manual_seed(0)
    streams = {
        "video": FeatureConditioner(6, 64, cross_attended=True, additive=True),
        "text": FeatureConditioner(5, 64, cross_attended=True),
    }
    network = DiffusionTransformer(8, 64, 2, 2, streams).eval()
    for weight in network.parameters():
        if not weight.any():
            torch.nn.init.normal_(weight, std=0.1)
    repeat.count = 0
    return network


def conditions(*lengths):
    return Conditions(
        video=Features.pad([torch.randn(4, 6) for _ in lengths]),
        text=Features.pad([torch.randn(n, 5) for n in lengths]),
    )


def velocity(graphs, latents, t, given):
    """Of the first step of a trajectory that is replayed."""
    cache = graphs.cache_conditions(given, latents.shape[-1])
    return [graphs(latents, t, cache) for _ in range(FIRST_STEPS + 1)][-1]


@torch.no_grad()
def test_short_trajectories_capture_nothing(network):
    graphs, given = GraphedTransformer(network, repeat), conditions(3)
    for _ in range(3):
        EulerSampler(FIRST_STEPS).sample(guided_velocity(graphs, given, 11, 2.0), torch.randn(1, 8, 11))
    assert repeat.count == 0
    EulerSampler(FIRST_STEPS + 1).sample(guided_velocity(graphs, given, 11, 2.0), torch.randn(1, 8, 11))
    assert repeat.count == 2


@torch.no_grad()
@pytest.mark.parametrize("sampler", [EulerSampler(5), HeunSampler(3), RungeKuttaSampler(2)])
@pytest.mark.parametrize(
    "options", [{"scale": 1.0}, {"scale": 4.0}, {"scale": 4.0, "rescale": 0.5, "interval": (0.2, 0.8)}]
)
def test_trajectories_are_those_without_graphs(network, sampler, options):
    graphs = GraphedTransformer(network, repeat)
    noise = torch.randn(2, 8, 11)
    for text in ((3, 7), (40, 2), (5, 6)):  # the last has the shape of the first, whose graphs hold other conditions
        given, negative = conditions(*text), conditions(9, 1)
        for other in (None, negative):
            plain = sampler.sample(guided_velocity(network, given, 11, negative=other, **options), noise)
            replayed = sampler.sample(guided_velocity(graphs, given, 11, negative=other, **options), noise)
            torch.testing.assert_close(replayed, plain, rtol=1e-5, atol=1e-5)
    assert repeat.count <= 8  # two shapes of text, each with and without the second half


@torch.no_grad()
def test_two_trajectories_of_one_shape_alternate(network):
    graphs = GraphedTransformer(network, repeat)
    latents, t = torch.randn(2, 8, 11), torch.tensor([0.9, 0.4])
    mask = torch.arange(11) < torch.tensor([[11], [6]])
    first, second = conditions(3, 7), conditions(6, 4)
    caches = [graphs.cache_conditions(some, 11, mask) for some in (first, second)]
    assert all(isinstance(cache, PaddedConditions) for cache in caches)
    for some, cache in [*zip((first, second), caches, strict=True)] * 4:
        found, wanted = graphs(latents, t, cache), network(latents, t, some, mask)
        torch.testing.assert_close(found * mask[:, None], wanted * mask[:, None], rtol=1e-5, atol=1e-6)
    assert repeat.count == 2


@torch.no_grad()
def test_changed_and_moved_weights_are_seen(network):
    graphs, given, latents, t = GraphedTransformer(network, repeat), conditions(3), torch.randn(1, 8, 11), torch.rand(1)
    before = velocity(graphs, latents, t, given)
    network.project_out.weight.mul_(2)  # in place, as an optimizer changes it
    network.blocks[0].cross_attention.to_kv.weight.mul_(-1)
    changed = velocity(graphs, latents, t, given)
    torch.testing.assert_close(changed, network(latents, t, given), rtol=1e-5, atol=1e-6)
    assert repeat.count == 2
    assert (changed - before).abs().max() > 1e-3
    network.project_out.weight.data = network.project_out.weight.data * 2
    moved = velocity(graphs, latents, t, given)
    torch.testing.assert_close(moved, network(latents, t, given), rtol=1e-5, atol=1e-6)
    assert repeat.count == 4


def test_with_gradients_the_network_itself_is_called(network):
    graphs, given = GraphedTransformer(network, repeat), conditions(3)
    cache = graphs.cache_conditions(given, 11)
    graphs(torch.randn(1, 8, 11), torch.rand(1), cache).square().mean().backward()
    assert network.project_out.weight.grad.any()
    assert repeat.count == 0


@torch.no_grad()
def test_few_shapes_are_kept(network):
    graphs = GraphedTransformer(network, repeat)
    for n_frames in (*range(4, 4 + MAX_GRAPHS + 1), 5, 4):
        velocity(graphs, torch.randn(1, 8, n_frames), torch.rand(1), conditions(3))
    assert repeat.count == 2 * (MAX_GRAPHS + 2)  # the first made room, and was captured again


@torch.no_grad()
def test_a_network_that_cannot_be_captured_is_called_after_one_warning(network, caplog):
    def fail(function):
        raise RuntimeError("operation not permitted\nwhen stream is capturing")

    graphs, given, latents, t = GraphedTransformer(network, fail), conditions(3), torch.randn(1, 8, 11), torch.rand(1)
    with caplog.at_level(logging.WARNING, "prismaudio"):
        for _ in range(2):
            found = velocity(graphs, latents, t, given)
            torch.testing.assert_close(found, network(latents, t, given), rtol=1e-5, atol=1e-6)
    (record,) = caplog.records
    assert record.message == (
        "velocities are computed without CUDA graphs, which is slower: the network cannot be captured: operation not "
        "permitted when stream is capturing"
    )


@torch.no_grad()
def test_memory_that_is_full_drops_the_other_graphs_and_captures_later(network):
    full = [True]

    def record(function):
        if full[0] and repeat.count:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return repeat(function)

    graphs, latents, t = GraphedTransformer(network, record), torch.randn(1, 8, 11), torch.rand(1)
    given = conditions(3)
    torch.testing.assert_close(velocity(graphs, latents, t, given), network(latents, t, given), rtol=1e-5, atol=1e-6)
    assert not graphs.failure
    full[0] = False
    velocity(graphs, latents, t, given)
    assert repeat.count == 3  # the first was lost with the memory


@torch.inference_mode()
def test_results_are_usable_with_gradients_after_inference_mode(network):
    graphs, given = GraphedTransformer(network, repeat), conditions(3)
    velocity(graphs, torch.randn(1, 8, 11), torch.rand(1), given)
    with torch.inference_mode(mode=False), torch.no_grad():
        found = velocity(graphs, torch.randn(1, 8, 11), torch.rand(1), conditions(4))
        assert not found.is_inference()
    with torch.inference_mode(mode=False), torch.enable_grad():
        weight = torch.ones((), requires_grad=True)
        (weight * found).sum().backward()
    assert weight.grad is not None
