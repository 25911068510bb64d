"""Times one velocity of the published size in CUDA graphs, eager and compiled, without the rest of ``bench model``.

Run on a GPU: ``python benchmarks/gpu/velocity.py``; about 40 seconds.
"""

from __future__ import annotations

import copy
import statistics
import sys
import time

import torch

from prismaudio.models.dit import DiffusionTransformer
from prismaudio.models.graphs import capture
from prismaudio.types import Conditions, Features

LENGTHS = {"video": 36, "sync": 216, "text": 160}
"""Features of a clip of 9 s."""
N_FRAMES = 194


def conditions(network: DiffusionTransformer, n_clips: int) -> Conditions:
    """Random conditions of some clips, and their null conditions."""
    streams = {
        name: Features.pad([torch.randn(length, network.streams[name].dim) for _ in range(n_clips)])
        for name, length in LENGTHS.items()
    }
    some = Conditions(streams)
    return Conditions.cat(some, some.null()).to("cuda", torch.bfloat16)


def replay_ms(network: DiffusionTransformer, n_clips: int) -> float:
    """Median time of a replayed velocity of both halves of some clips."""
    cache = network.cache_conditions(conditions(network, n_clips), N_FRAMES)
    latents, times = torch.randn(2 * n_clips, 64, N_FRAMES, device="cuda"), torch.full((2 * n_clips,), 0.5).cuda()
    replay, _ = capture(lambda: network(latents, times, cache))
    taken = []
    for _ in range(20):
        start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        start.record()
        replay()
        end.record()
        torch.cuda.synchronize()
        taken.append(start.elapsed_time(end))
    return statistics.median(taken)


@torch.no_grad()
def main() -> None:
    """Print a line for each batch."""
    torch.manual_seed(0)
    network = DiffusionTransformer().cuda().eval().in_precision(torch.bfloat16)
    for weight in network.parameters():
        if not weight.any():
            weight.normal_(std=0.02)
    compiled = copy.deepcopy(network)
    for block in compiled.blocks:
        block.compile()
    sys.stdout.write(f"{torch.cuda.get_device_name()}, torch {torch.__version__}\n")
    for name, some in (("eager", network), ("compiled", compiled)):
        for n_clips in (1, 16, 4):
            start_s = time.perf_counter()
            taken_ms = replay_ms(some, n_clips)
            first_s = time.perf_counter() - start_s
            sys.stdout.write(f"{name} graph, {n_clips} clips: {taken_ms:.2f} ms, measured in {first_s:.1f} s\n")


if __name__ == "__main__":
    main()
