"""Held-out studio clips with their plans."""

import pytest
import torch
from reward_checks import Clips

from prismaudio_studio.narration import narrate
from prismaudio_studio.world import render_audio, sample_scene


@pytest.fixture(scope="session")
def clips() -> Clips:
    scenes = [sample_scene(index, 5, held_out=True) for index in range(16)]
    audio = torch.stack([torch.as_tensor(render_audio(scene)).float() for scene in scenes])
    return Clips([narrate(scene.story) for scene in scenes], audio)
