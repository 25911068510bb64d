"""A tiny model with random weights, made of the real classes."""

from __future__ import annotations

import pytest
import torch

from prismaudio.autoencoders.parametric_stereo import ParametricStereoAutoencoder
from prismaudio.cot.words import CLASSES
from prismaudio.encoders.hashed_text import HashedTextEncoder
from prismaudio.encoders.motion_grid import MotionGridEncoder
from prismaudio.encoders.plan_grid import PlanGridEncoder
from prismaudio.generation import PrismAudio
from prismaudio.models.dit import DiffusionTransformer
from prismaudio.planners.event import EventPlanner
from prismaudio.samplers.euler import EulerSampler


def tiny_model() -> PrismAudio:
    torch.manual_seed(0)
    encoders = {"video": MotionGridEncoder(2), "text": HashedTextEncoder(), "plan": PlanGridEncoder(CLASSES)}
    autoencoder = ParametricStereoAutoencoder(components=8, level_bands=2, iterations=2)
    autoencoder.observe(0.1 * torch.randn(2, 2, 16_000))
    autoencoder.fit()
    transformer = DiffusionTransformer(
        autoencoder.channels,
        width=64,
        depth=1,
        heads=2,
        video_width=encoders["video"].width,
        sync_width=None,
        text_width=encoders["text"].width,
        plan_width=encoders["plan"].width,
        attended=["text"],
        added=["video", "plan"],
        output="data",
    )
    planner = EventPlanner(CLASSES, width=8, time_width=16, depth=2)
    model = PrismAudio(transformer.eval(), autoencoder.eval(), encoders, planner.eval(), EulerSampler(3))
    for part in (transformer, autoencoder, planner):
        part.requires_grad_(requires_grad=False)
    return model


@pytest.fixture(scope="session")
def model() -> PrismAudio:
    return tiny_model()
