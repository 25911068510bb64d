"""Fixtures for all tests."""

from __future__ import annotations

import itertools
import sys
import textwrap
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from prismaudio.inference import PrismAudio

COUNTER = itertools.count()


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
def tiny_model() -> PrismAudio:
    """A model with random weights, made of the real classes: it renders noise, in no time."""
    import torch

    from prismaudio.inference import PrismAudio
    from prismaudio.models.dit import DiffusionTransformer
    from prismaudio.samplers.euler import EulerSampler
    from prismaudio_studio.autoencoder import ParametricStereoAutoencoder
    from prismaudio_studio.hashed_text import HashedTextEncoder
    from prismaudio_studio.motion_grid import MotionGridEncoder
    from prismaudio_studio.plan_grid import PlanGridEncoder
    from prismaudio_studio.planner.event import EventPlanner
    from prismaudio_studio.words import CLASSES

    torch.manual_seed(0)
    encoders = {"video": MotionGridEncoder(2), "text": HashedTextEncoder(), "plan": PlanGridEncoder(CLASSES)}
    autoencoder = ParametricStereoAutoencoder(components=8, level_bands=2, iterations=2)
    autoencoder.observe(0.1 * torch.randn(2, 2, 16_000))
    autoencoder.fit()
    transformer = DiffusionTransformer(
        autoencoder.channels,
        width=64,
        depth=1,
        expansion=1,
        heads=2,
        video_width=encoders["video"].width,
        sync_width=None,
        text_width=encoders["text"].width,
        plan_width=encoders["plan"].width,
        attended=["text"],
        added=["video", "plan"],
        data_spread=0.5,
    )
    planner = EventPlanner(CLASSES, width=8, time_width=16, depth=2)
    model = PrismAudio(transformer.eval(), autoencoder.eval(), encoders, planner.eval(), EulerSampler(2))
    for weight in transformer.parameters():  # what begins as zero would have no effect
        if not weight.any():
            torch.nn.init.normal_(weight, std=0.1)
    for part in (transformer, autoencoder, planner):
        part.requires_grad_(requires_grad=False)
    return model


@pytest.fixture(scope="session")
def tiny_model_folder(tiny_model: PrismAudio, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that the tiny model is saved in."""
    folder: Path = tmp_path_factory.mktemp("tiny") / "model"
    tiny_model.save_pretrained(folder)
    return folder
