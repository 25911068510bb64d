"""A model of the studio's kind with random weights, and sounds whose story is known because they are made from it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

    from prismaudio.inference import PrismAudio


@pytest.fixture(autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PRISMAUDIO_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))


@pytest.fixture(scope="session")
def tiny_model() -> PrismAudio:
    """A model with random weights, made of the real classes: it renders noise, in no time."""
    import torch
    from streams import streams

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
        dim=64,
        depth=1,
        expansion=1,
        num_heads=2,
        streams=streams(64, ["text"], ["video", "plan"], **{name: part.dim for name, part in encoders.items()}),
        sigma_data=0.5,
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
