"""Weights and sounds that a formula gives, so that numbers made from them hold with any version of torch."""

import zlib

import numpy as np
import pytest
import torch

from prismaudio.media import write_wav
from prismaudio.testing.examples import example_audio
from prismaudio_av_benchmark.imagebind import ImageBind, Tower
from prismaudio_av_benchmark.panns import Panns
from prismaudio_av_benchmark.passt import Passt
from prismaudio_av_benchmark.vggish import Vggish

RATE_HZ = 22_050
PANNS = {"channels": (4, 4, 8, 8, 16, 16), "classes": 5}
PASST = {"dim": 24, "depth": 2, "num_heads": 3, "classes": 5}
VGGISH = {"channels": (4, 4, 8, 8), "hidden": 16, "dim": 6}
IMAGEBIND = {"audio": Tower(24, 2, 3), "vision": Tower(32, 2, 4), "dim": 8}


def scrambled(name, count):
    """Numbers in -1 .. 1 without a pattern, float64, from integer arithmetic on their index and a name."""
    state = np.arange(1, count + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    state += np.uint64(zlib.crc32(name.encode()))
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        state = (state ^ (state >> np.uint64(shift))) * np.uint64(factor)
    return (state >> np.uint64(11)).astype(np.float64) / 2**52 - 1


def formula_weights(state_dict):
    """Weights of the names and shapes of a state, of a size that keeps activations around one."""
    found = {}
    for name, value in state_dict.items():
        if not value.is_floating_point():
            found[name] = torch.zeros_like(value)
            continue
        noise = torch.from_numpy(scrambled(name, value.numel())).reshape(value.shape)
        if name.endswith("running_var"):
            weight = 1 + 0.5 * noise
        elif value.ndim < 2:
            weight = 0.2 * noise + float(name.endswith("weight"))
        else:
            weight = noise * (3 / max(1, value[0].numel())) ** 0.5
        found[name] = weight.to(value.dtype)
    return found


def make(kind, form):
    network = kind(**form)
    with torch.no_grad():
        weights = formula_weights({k: v for k, v in network.state_dict().items() if k not in ("bands", "log_scale")})
        network.load_state_dict(weights, strict=False)
    return network.eval()


@pytest.fixture(scope="session")
def panns():
    return make(Panns, PANNS)


@pytest.fixture(scope="session")
def passt():
    return make(Passt, PASST)


@pytest.fixture(scope="session")
def vggish():
    return make(Vggish, VGGISH)


@pytest.fixture(scope="session")
def imagebind():
    return make(ImageBind, IMAGEBIND)


@pytest.fixture(scope="session")
def sound():
    """Stereo, 5.3 s at 22.05 kHz: a gliding tone, noise that grows, and DC."""
    time_s = np.arange(round(5.3 * RATE_HZ)) / RATE_HZ
    tone = 0.3 * np.sin(2 * np.pi * (200 * time_s + 300 * time_s**2))
    noise = scrambled("sound", 2 * len(time_s)).reshape(2, -1) * time_s / 20
    return torch.from_numpy(tone + noise + 0.05).float()


@pytest.fixture(scope="session")
def frames():
    """Four frames uint8 of 90 x 160 pixels with smooth patterns."""
    rows, columns = np.mgrid[:90, :160] / 30.0
    images = [
        [127.5 + 120 * np.sin(rows * (1 + frame) + columns * (2 + colour)) for colour in range(3)] for frame in range(4)
    ]
    return torch.from_numpy(np.array(images).round()).to(torch.uint8)


@pytest.fixture(scope="session")
def forms():
    """The sizes of the small networks."""
    return {"panns": PANNS, "passt": PASST, "vggish": VGGISH, "imagebind": IMAGEBIND}


@pytest.fixture
def folders(tmp_path):
    """Folders of generated and of reference audio, two clips each."""
    for folder in ("made", "true"):
        (tmp_path / folder).mkdir()
        for index, noise in enumerate(example_audio(1.2)[:2]):
            audio = noise if folder == "true" else 0.5 * noise + 0.1 * noise.flip(1)
            write_wav(audio, 16_000, tmp_path / folder / f"clip{index}.wav")
    return tmp_path
