"""The aesthetic reward prefers the sound quality that the plan states."""

from dataclasses import replace
from typing import ClassVar

import pytest
import torch
from reward_checks import QualityChecks

from prismaudio.plan.words import QUALITIES
from prismaudio_studio.narration import narrate
from prismaudio_studio.world import render_audio, sample_scene


@pytest.fixture(scope="module")
def recordings() -> dict[tuple[str, str], torch.Tensor]:
    """One scene of a woodblock that is struck, in every quality and in two rooms, ``(1, 2, samples)`` each."""
    index = next(i for i in range(200) if [thing.what for thing in sample_scene(i, 6).things] == ["woodblock"])
    scene = sample_scene(index, 6)
    return {
        (quality, room): torch.as_tensor(render_audio(replace(scene, quality=quality, room=room))).float()[None]
        for quality in QUALITIES
        for room in ("dry", "hall")
    }


class TestQualities(QualityChecks):
    requests: ClassVar = {
        quality: narrate(replace(sample_scene(0).story, quality=quality, room="dry"))["aesthetic"]
        for quality in QUALITIES
    }
