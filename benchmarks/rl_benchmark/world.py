"""A toy problem for reinforcement learning in seconds: a 16-dimensional flow and four exact rewards."""

from __future__ import annotations

import hashlib
import math
import os
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from prismaudio.downloads import cache_home
from prismaudio.flow.path import interpolate, velocity_target
from prismaudio.weight_files import save_tensors

if TYPE_CHECKING:
    from collections.abc import Callable

    from prismaudio.samplers.base import Velocity
    from prismaudio.samplers.rollout import RowVelocity

CLASSES, WIDTH = 8, 16
WEIGHTS = {"temporal": 0.6, "semantic": 1.0, "spatial": 0.4, "aesthetic": 0.1}
"""Weights of the rewards, as in the paper."""
MODES = slice(0, 6)
DIRECTION = slice(6, 12)
RING = slice(12, 14)
CHANNELS = slice(14, 16)
PRETRAINING_STEPS, PRETRAINING_BATCH = 6000, 256


class World:
    """A distribution of latents ``(batch, 16, 1)`` for eight classes, and rewards with known optima.

    Classes correspond to videos. A latent has four independent parts, one for each reward: a mixture of three modes, of
    which one is correct; a direction; a position on a ring, of which one point is best; and two channels, whose
    difference is the pan. Samples of the data score below the optimum in each part: one mode in three is
    correct, directions scatter, positions are uniform on the ring, and pans are noisy and biased.
    """

    def __init__(self) -> None:
        draw = torch.Generator().manual_seed(0)
        self.modes = 1.5 * _unit(torch.randn(CLASSES, 3, 6, generator=draw))
        self.directions = _unit(torch.randn(CLASSES, 6, generator=draw))
        self.best = 1.5 * _unit(torch.randn(CLASSES, 2, generator=draw))
        self.pans = 2 * torch.rand(CLASSES, generator=draw) - 1

    def draw(self, classes: Tensor, generator: torch.Generator) -> Tensor:
        """Data ``(batch, 16, 1)`` of classes ``(batch,)``."""
        n = len(classes)
        mode = torch.randint(3, (n,), generator=generator)
        angle = 2 * math.pi * torch.rand(n, generator=generator)
        parts = torch.randn(n, WIDTH, generator=generator)
        parts[:, MODES] = self.modes[classes, mode] + 0.3 * parts[:, MODES]
        parts[:, DIRECTION] = self.directions[classes] + 0.6 * parts[:, DIRECTION]
        parts[:, RING] = 1.5 * torch.stack([angle.cos(), angle.sin()], 1) + 0.2 * parts[:, RING]
        pan = self.pans[classes] + 0.3 + 0.4 * parts[:, 14]
        parts[:, CHANNELS] = torch.stack([pan, -pan], 1) / 2 + 0.3 * parts[:, 15:]
        return parts[:, :, None]

    def rewards(self, latents: Tensor, classes: Tensor) -> dict[str, Tensor]:
        """The four exact rewards ``(batch,)`` of latents ``(batch, 16, 1)``, on scales as unequal as real ones.

        Args:
            latents: Generated latents.
            classes: Their classes, ``(batch,)``.

        Returns:
            ``semantic`` 0 .. 1, ``temporal`` -1 .. 1, ``aesthetic`` 1 .. 10, ``spatial`` at most 0.
        """
        x = latents[:, :, 0]
        mode_error = (x[:, MODES] - self.modes[classes, 0]).square().sum(1)
        ring_error = (x[:, RING] - self.best[classes]).square().sum(1)
        return {
            "semantic": torch.exp(-mode_error / 2),
            "temporal": torch.cosine_similarity(x[:, DIRECTION], self.directions[classes]),
            "aesthetic": 1 + 9 * torch.exp(-ring_error / 4.5),
            "spatial": -(x[:, 14] - x[:, 15] - self.pans[classes]).abs(),
        }


def _unit(vectors: Tensor) -> Tensor:
    return vectors / vectors.norm(dim=-1, keepdim=True)


class VelocityNetwork(nn.Module):
    """Velocity of latents ``(batch, 16, 1)``: three layers of 128, with the time and the class as inputs."""

    def __init__(self) -> None:
        super().__init__()
        self.classes = nn.Embedding(CLASSES, 16)
        self.layers = nn.Sequential(
            nn.Linear(WIDTH + 8 + 16, 128), nn.SiLU(),
            nn.Linear(128, 128), nn.SiLU(),
            nn.Linear(128, 128), nn.SiLU(),
            nn.Linear(128, WIDTH),
        )  # fmt: skip

    def forward(self, latents: Tensor, times: Tensor, classes: Tensor) -> Tensor:
        """Velocity ``(batch, 16, 1)`` at times ``(batch,)`` for classes ``(batch,)``."""
        phase = times[:, None] * (math.pi * torch.tensor([0.5, 1, 2, 4]))
        inputs = torch.cat([latents[:, :, 0], phase.cos(), phase.sin(), self.classes(classes)], 1)
        return self.layers(inputs)[:, :, None]

    def given(self, classes: Tensor) -> Velocity:
        """The velocity of samples of the given classes."""
        return lambda latents, times: self(latents, times, classes)

    def rows(self, classes: Tensor) -> RowVelocity:
        """The velocity of a subset of the samples of the given classes."""
        return lambda rows: self.given(classes[rows])


def pretrained(
    steps: int = PRETRAINING_STEPS, on_step: Callable[[int, int], None] = lambda *_: None
) -> VelocityNetwork:
    """Train a flow model of the data, or load it from the cache.

    Args:
        steps: Number of flow-matching steps.
        on_step: Called after each step with (finished steps, total steps).
    """
    file = _cache_file(steps)
    network = VelocityNetwork()
    if file.exists():
        network.load_state_dict(load_file(file))
        return network
    _pretrain(network, World(), steps, on_step)
    file.parent.mkdir(parents=True, exist_ok=True)
    partial = file.with_name(f"{file.name}.{os.getpid()}.partial")
    save_tensors(network.state_dict(), partial)
    partial.replace(file)
    return network


def _cache_file(steps: int) -> Path:
    key = hashlib.sha256(Path(__file__).read_bytes() + f"{steps} {torch.__version__}".encode()).hexdigest()[:16]
    return cache_home() / "benchmark" / f"rl-{key}.safetensors"


def _pretrain(network: VelocityNetwork, world: World, steps: int, on_step: Callable[[int, int], None]) -> None:
    draw = torch.Generator().manual_seed(0)
    for parameter in network.parameters():
        bound = 1 / math.sqrt(parameter.shape[-1])
        nn.init.uniform_(parameter, -bound, bound, generator=draw)
    optimizer = torch.optim.AdamW(network.parameters(), 2e-3, weight_decay=0.0)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for step in range(steps):
        classes = torch.randint(CLASSES, (PRETRAINING_BATCH,), generator=draw)
        data, times = world.draw(classes, draw), torch.rand(PRETRAINING_BATCH, generator=draw)
        noise = torch.randn(data.shape, generator=draw)
        error = network(interpolate(data, noise, times), times, classes) - velocity_target(data, noise)
        optimizer.zero_grad()
        error.square().mean().backward()
        optimizer.step()
        schedule.step()
        on_step(step + 1, steps)
