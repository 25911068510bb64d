"""CUDA graphs on a GPU: the same trajectories, no synchronisation, and what happens where none can be captured."""

from __future__ import annotations

import copy

import pytest
import torch

from prismaudio.models.conditioners import FeatureConditioner
from prismaudio.models.dit import DiffusionTransformer
from prismaudio.models.graphs import FIRST_STEPS, GraphedTransformer
from prismaudio.samplers.adams_bashforth import AdamsBashforthSampler
from prismaudio.samplers.euler import EulerSampler
from prismaudio.samplers.guidance import guided_velocity
from prismaudio.samplers.heun import HeunSampler
from prismaudio.samplers.midpoint import MidpointSampler
from prismaudio.samplers.runge_kutta import RungeKuttaSampler
from prismaudio.types import Conditions, Features

pytestmark = pytest.mark.gpu
SAMPLERS = [EulerSampler(4), HeunSampler(2), MidpointSampler(2), AdamsBashforthSampler(4), RungeKuttaSampler(2)]


@pytest.fixture(params=[torch.float32, torch.bfloat16])
def network(request):
    torch.manual_seed(0)
    streams = {
        "video": FeatureConditioner(6, 128, cross_attended=True, additive=True),
        "text": FeatureConditioner(5, 128, cross_attended=True),
    }
    network = DiffusionTransformer(8, 128, 3, 2, streams).eval().requires_grad_(requires_grad=False)
    for weight in network.parameters():
        if not weight.any():
            torch.nn.init.normal_(weight, std=0.1)
    return network.in_precision(request.param).cuda()


def conditions(network, *lengths):
    values = [[torch.randn(4, 6) for _ in lengths], [torch.randn(n, 5) for n in lengths]]
    streams = {name: Features.pad(rows) for name, rows in zip(("video", "text"), values, strict=True)}
    return Conditions(streams).to("cuda", network.pre.weight.dtype)


def velocity(graphs, latents, t, given):
    """Of the first step of a trajectory that is replayed."""
    cache = graphs.cache_conditions(given, latents.shape[-1])
    return [graphs(latents, t, cache) for _ in range(FIRST_STEPS + 1)][-1]


def close(found, wanted, network):
    error = float((found - wanted).norm() / wanted.norm())
    assert error < (1e-5 if network.pre.weight.dtype == torch.float32 else 2e-2), error


@torch.no_grad()
@pytest.mark.parametrize("sampler", SAMPLERS, ids=lambda sampler: type(sampler).__name__)
def test_trajectories_are_those_without_graphs(network, sampler):
    graphs = GraphedTransformer(network)
    for n_frames, text in ((50, (3, 7)), (50, (40, 9)), (33, (5, 5)), (50, (8, 1))):
        given, noise = conditions(network, *text), torch.randn(2, 8, n_frames, device="cuda")
        options = {"negative": conditions(network, 2, 9), "rescale": 0.3, "interval": (0.2, 0.9)}
        plain = sampler.sample(guided_velocity(network, given, n_frames, 3.0, **options), noise)
        replayed = sampler.sample(guided_velocity(graphs, given, n_frames, 3.0, **options), noise)
        close(replayed, plain, network)
    assert not graphs.failure


@torch.no_grad()
def test_a_trajectory_does_not_wait_for_the_gpu(network):
    graphs, given = GraphedTransformer(network), conditions(network, 3, 7)
    noise, mask = torch.randn(2, 8, 50, device="cuda"), torch.ones(2, 50, dtype=torch.bool, device="cuda")
    guided = guided_velocity(graphs, given, 50, 3.0, interval=(0.2, 0.9), mask=mask)
    EulerSampler(8).sample(guided, noise)
    torch.cuda.set_sync_debug_mode("error")
    try:
        EulerSampler(8).sample(guided, noise)
    finally:
        torch.cuda.set_sync_debug_mode("default")


@torch.no_grad()
def test_weights_that_change_in_place_are_seen(network):
    graphs, given = GraphedTransformer(network), conditions(network, 3)
    latents, t = torch.randn(1, 8, 50, device="cuda"), torch.rand(1, device="cuda")
    velocity(graphs, latents, t, given)
    network.project_out.weight.mul_(2)
    network.blocks[0].cross_attention.to_kv.weight.mul_(-1)
    close(velocity(graphs, latents, t, given), network(latents, t, given), network)


@torch.no_grad()
def test_autocast_of_float32_weights_is_captured_with_its_casts(network):
    if network.pre.weight.dtype != torch.float32:
        pytest.skip("autocast is for weights in float32")
    graphs, given = GraphedTransformer(network), conditions(network, 3)
    latents, t = torch.randn(1, 8, 50, device="cuda"), torch.rand(1, device="cuda")
    for factor in (1, -2):
        network.blocks[0].feed_forward.project_in.weight.mul_(factor)
        with torch.autocast("cuda", torch.bfloat16):
            torch.clear_autocast_cache()
            wanted = network(latents, t, given)
            found = velocity(graphs, latents, t, given)
        assert (found - wanted).norm() < 2e-2 * wanted.norm()


@torch.no_grad()
def test_compiled_blocks_agree(network):
    graphs, given = GraphedTransformer(copy.deepcopy(network)), conditions(network, 3, 7)
    graphs.compile()
    for n_frames in (50, 34, 41):
        noise = torch.randn(2, 8, n_frames, device="cuda")
        plain = EulerSampler(4).sample(guided_velocity(network, given, n_frames, 3.0), noise)
        close(EulerSampler(4).sample(guided_velocity(graphs, given, n_frames, 3.0), noise), plain, network)


@torch.no_grad()
def test_a_network_that_waits_for_the_gpu_is_called_without_a_graph(network, caplog):
    class Waiting(FeatureConditioner):
        def forward(self, values):
            return super().forward(values) * float(values.abs().sum() > 0)

    network.conditioners["text"] = Waiting(5, 128, cross_attended=True).to("cuda", network.pre.weight.dtype)
    graphs, given = GraphedTransformer(network), conditions(network, 3)
    latents, t = torch.randn(1, 8, 50, device="cuda"), torch.rand(1, device="cuda")
    for _ in range(2):
        found = velocity(graphs, latents, t, given)
        close(found, network(latents, t, given), network)
    assert len(caplog.records) == 1
    assert "the network cannot be captured" in caplog.text
    assert "capturing" in caplog.text  # what is not permitted is said
    assert torch.cuda.current_stream() == torch.cuda.default_stream()
    torch.randn(3, device="cuda")  # the random generator is usable
