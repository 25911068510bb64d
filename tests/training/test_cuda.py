"""Post-training and several processes on a GPU: roll-outs of the CPU, and runs with NCCL on the GPUs that there are."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from recipe_runs import train
from safetensors.torch import load_file
from streams import streams

from prismaudio.flow.kernels import RhoKernel
from prismaudio.flow.randomness import normal
from prismaudio.flow.times import uniform_grid
from prismaudio.models.dit import DiffusionTransformer
from prismaudio.models.graphs import GraphedTransformer
from prismaudio.samplers.guidance import guided_velocity
from prismaudio.samplers.rollout import Trajectory, replay, rollout
from prismaudio.training.grpo.windows import Window
from prismaudio.types import Conditions, Features

pytestmark = pytest.mark.gpu


def test_roll_outs_are_those_of_the_cpu() -> None:
    torch.manual_seed(0)
    network = DiffusionTransformer(4, 64, 2, 2, streams(64, text=5)).eval()
    for weight in network.parameters():
        if not weight.any():
            torch.nn.init.normal_(weight, std=0.1)
    given = Conditions(text=Features.pad([torch.randn(length, 5) for length in (3, 6)]))
    mask = torch.arange(12) < torch.tensor([12, 9])[:, None]
    trajectories = [Trajectory(uniform_grid(6), Window(1, 3)), Trajectory(uniform_grid(6), Window(3, 5))]
    found = {}
    for device in ("cpu", "cuda"):
        network.to(device)
        graphs, told, real = GraphedTransformer(network), given.to(device), mask.to(device)

        def velocity(rows, graphs=graphs, told=told, real=real):
            branch = rows // 2
            return guided_velocity(graphs, told.index(branch), 12, 2.0, mask=real[branch])

        noise, draws = normal((2, 4, 12), "start").to(device), normal((2, 4, 4, 12), "draw").to(device)
        each = real.repeat_interleave(2, 0)
        made = rollout(velocity, noise, draws, trajectories, RhoKernel(0.7), branch_size=2, mask=each)
        again = replay(velocity(torch.arange(4, device=device)), made, 1)
        found[device] = [(x * each[:, None]).cpu() for x in (*made.states, made.latents, again.mean)]
    for on_cpu, on_gpu in zip(found["cpu"], found["cuda"], strict=True):
        torch.testing.assert_close(on_gpu, on_cpu, rtol=1e-3, atol=1e-4)


def test_strategies_train_the_same_weights(tmp_path: Path) -> None:
    devices = ["--trainer.accelerator", "gpu", "--trainer.devices", str(torch.cuda.device_count())]
    weights = []
    for strategy in ("ddp", "fsdp"):
        folder = tmp_path / strategy
        folder.mkdir()
        train(folder, "fit", "--config", "smoke/foundation", *devices, "--trainer.strategy", strategy)
        weights.append(load_file(folder / "runs/smoke/model/model.safetensors"))
    assert weights[0].keys() == weights[1].keys()
    for name, weight in weights[0].items():
        torch.testing.assert_close(weight.float(), weights[1][name].float(), rtol=1e-3, atol=1e-4)
