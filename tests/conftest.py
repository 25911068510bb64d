"""Fixtures for all tests."""

from __future__ import annotations

import itertools
import sys
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from prismaudio.registry import discovered

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from prismaudio.inference import PrismAudio

COUNTER = itertools.count()
TINY_PLUGIN = Path(__file__).with_name("tiny_plugin.py")


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., str]]:
    """Install a plugin in this process: ``install(source, name=..., distribution=...)`` gives its module's name.

    ``MODULE`` in the source stands for that name.
    """
    folder = tmp_path / "site-packages"
    folder.mkdir()
    monkeypatch.syspath_prepend(folder)
    modules = []

    def install(source: str, *, name: str = "extra", distribution: str | None = None, entry_point: bool = True) -> str:
        module = f"plugin_under_test_{next(COUNTER)}"
        modules.append(module)
        source = "from prismaudio import Component, Dimension, hookimpl\n" + textwrap.dedent(source)
        (folder / f"{module}.py").write_text(source.replace("MODULE", module))
        discovered.cache_clear()
        if entry_point:
            distribution = distribution or f"prismaudio-{name}"
            info = folder / f"{distribution.replace('-', '_')}-0.3.dist-info"
            info.mkdir()
            (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: 0.3\n")
            (info / "entry_points.txt").write_text(f"[prismaudio]\n{name} = {module}\n")
        return module

    yield install
    for module in modules:
        sys.modules.pop(module, None)


@pytest.fixture(scope="session")
def made_tiny_model(tmp_path_factory: pytest.TempPathFactory) -> tuple[PrismAudio, Path]:
    """The tiny model and the folder that it is saved in; see ``tiny_model``."""
    folder = tmp_path_factory.mktemp("tiny") / "model"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PRISMAUDIO_PLUGINS", str(TINY_PLUGIN))
        patch.setenv("TINY_MODEL_FOLDER", str(folder))
        model = random_model()
        model.save_pretrained(folder)
    return model, folder


@pytest.fixture
def tiny_plugin(made_tiny_model: tuple[PrismAudio, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """Install the model "tiny", the only one, and the encoder that it needs, also for processes that a test starts."""
    monkeypatch.setenv("PRISMAUDIO_PLUGINS", str(TINY_PLUGIN), prepend=",")
    monkeypatch.setenv("TINY_MODEL_FOLDER", str(made_tiny_model[1]))


@pytest.fixture
def tiny_model(made_tiny_model: tuple[PrismAudio, Path], tiny_plugin: None) -> PrismAudio:
    """A model with random weights, made of the real classes: it renders noise, in no time.

    It plans that a click is heard when the frame gets brighter, and with the first frame that is not black.
    """
    return made_tiny_model[0]


@pytest.fixture
def tiny_model_folder(made_tiny_model: tuple[PrismAudio, Path], tiny_plugin: None) -> Path:
    """The folder that the tiny model is saved in."""
    return made_tiny_model[1]


def random_model() -> PrismAudio:
    """See ``tiny_model``."""
    import torch
    from streams import streams

    from prismaudio.autoencoders.oobleck import OobleckAutoencoder
    from prismaudio.encoders.brightness import BrightnessEncoder
    from prismaudio.inference import PrismAudio
    from prismaudio.models.dit import DiffusionTransformer
    from prismaudio.planners.flash import FlashPlanner
    from prismaudio.registry import discover
    from prismaudio.samplers.euler import EulerSampler

    torch.manual_seed(0)
    encoders = {"video": BrightnessEncoder(4, 16.0), "text": discover().load("encoders", "TinyTextEncoder")()}
    autoencoder = OobleckAutoencoder(4, (1, 2, 4), (4, 8, 8), latent_channels=8, sample_rate_hz=16_000)
    transformer = DiffusionTransformer(
        autoencoder.channels,
        dim=64,
        depth=1,
        expansion=1,
        num_heads=2,
        streams=streams(64, ["text"], ["video"], video=encoders["video"].dim, text=encoders["text"].dim),
        sigma_data=0.5,
    )
    for name, weight in transformer.named_parameters():  # what begins as zero would have no effect
        if not weight.any():
            torch.nn.init.normal_(weight, std=0.5 if "cross_attention" in name else 0.1)  # the text is heard well
    planner = FlashPlanner()
    with torch.no_grad():
        *weights, last = (weight for weight in autoencoder.decoder.parameters() if weight.dim() > 1)
        for weight in weights:  # so are the latents
            weight.mul_(2.0)
        last.mul_(0.01)  # well below full scale
        planner.chance.weight.copy_(torch.tensor([-20.0, 20.0, 0.0]))
        planner.chance.bias.fill_(-5.0)
    for part in (transformer, autoencoder, planner):
        part.eval().requires_grad_(requires_grad=False)
    return PrismAudio(transformer, autoencoder, encoders, planner, EulerSampler(2))
