import pytest
import torch
from parity import recipe_weights

from prismaudio.types import Clip
from prismaudio.weight_files import fill
from prismaudio_synchformer.network import Synchformer

SIZES = (24, 1, 2, 16, 1, 2)


def made(seed):
    """A small network with outputs that depend on frames and audio."""
    network = Synchformer(*SIZES)
    shapes = {key: tuple(value.shape) for key, value in network.state_dict().items()}
    weights = recipe_weights(shapes, seed)
    weights["transformer.off_head.weight"] *= 3
    fill(network, weights, "recipe")
    return network


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """An empty cache."""
    monkeypatch.setenv("PRISMAUDIO_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture(scope="session")
def network():
    return made(3)


@pytest.fixture(scope="session")
def other_network():
    return made(4)


@pytest.fixture(scope="session")
def clip():
    """Nine seconds of frames at 25 a second, no two alike, wider than high."""
    small = torch.randint(0, 255, (225, 3, 6, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    frames = small.repeat_interleave(6, -1).repeat_interleave(6, -2)
    return Clip("clip", 9.0, frames, 25.0)


@pytest.fixture(scope="session")
def sounds():
    """Three audio ``(3, 2, samples)`` of nine seconds at 16 kHz: clicks, noise that comes and goes, silence."""
    generator = torch.Generator().manual_seed(1)
    clicks = torch.zeros(2, 9 * 16_000)
    clicks[:, ::11_000] = 0.9
    noise = 0.2 * torch.randn(2, 9 * 16_000, generator=generator)
    noise *= torch.sin(torch.arange(9 * 16_000) / 4_000).clamp(min=0)
    return torch.stack([clicks, noise, torch.zeros_like(noise)])
