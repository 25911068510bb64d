"""What two processes measure together; as a script, with the environment that torchrun makes: FOLDER."""

from __future__ import annotations

import sys
from pathlib import Path

import torch
from torch import distributed

from prismaudio.metrics.features import FrechetDistance, InceptionScore, KernelDistance, KlDivergence, MeanCosine
from prismaudio.metrics.itd import GccMse
from prismaudio.metrics.target import Target
from prismaudio.types import Clip

N, WIDTH, RATE_HZ = 10, 5, 16_000
SHARES = (slice(0, 3), slice(3, N))


def measured(share: slice) -> dict[str, torch.Tensor]:
    """Every metric of the features and sounds of a share; computing adds up what all processes saw."""
    generator = torch.Generator().manual_seed(0)
    generated, true = torch.randn(2, N, WIDTH, generator=generator)
    metrics = {
        "fd": FrechetDistance(WIDTH),
        "kad": KernelDistance(),
        "kl": KlDivergence(),
        "is": InceptionScore(2),
        "cosine": MeanCosine(),
    }
    for metric in metrics.values():
        metric.update(generated[share], true[share])
    sounds = torch.randn(N, 2, 6000, generator=generator)
    targets = [Target.of(Clip("a", 0.375, audio=sound.flip(0), sample_rate_hz=RATE_HZ)) for sound in sounds]
    gcc_mse = GccMse()
    gcc_mse.update(sounds[share], RATE_HZ, targets[share])
    return {name: metric.compute() for name, metric in {**metrics, "gcc mse": gcc_mse}.items()}


if __name__ == "__main__":
    distributed.init_process_group("gloo")
    rank = distributed.get_rank()
    torch.save(measured(SHARES[rank]), Path(sys.argv[1]) / f"{rank}.pt")
    distributed.destroy_process_group()
