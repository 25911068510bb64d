"""Scenes of the studio are as clean, or as flawed, as the plan asks."""

from dataclasses import replace

import pytest
import torch

from prismaudio.plan import Plan
from prismaudio.rewards.aesthetic import AestheticReward
from prismaudio.types import Clip
from prismaudio_studio.narration import narrate
from prismaudio_studio.world import render_audio, sample_scene

RATE_HZ = 16_000
QUALITIES = ("clean", "noisy", "clipped", "muffled")


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


def score(audio: torch.Tensor, text: str) -> float:
    reward = AestheticReward()
    plan = Plan({"aesthetic": text}) if text else Plan({"semantic": "A woodblock knocks."})
    return reward.score(audio, RATE_HZ, [reward.prepare(Clip("x", 4.0), plan)]).item()


@pytest.mark.parametrize("asked", QUALITIES)
def test_what_is_asked_for_scores_best(asked, recordings) -> None:
    text = narrate(replace(sample_scene(0).story, quality=asked, room="dry"))["aesthetic"]
    scores = {quality: score(recordings[quality, "dry"], text) for quality in QUALITIES}
    assert max(scores, key=scores.__getitem__) == asked, scores


def test_clean_is_asked_for_when_nothing_is_said(recordings) -> None:
    scores = {quality: score(recordings[quality, "dry"], "") for quality in QUALITIES}
    assert max(scores, key=scores.__getitem__) == "clean", scores


def test_rooms_are_told_apart_if_the_plan_names_one(recordings) -> None:
    dry, hall = recordings["clean", "dry"], recordings["clean", "hall"]
    assert score(dry, "Dry acoustics.") > score(hall, "Dry acoustics.") + 0.05
    assert score(hall, "A large hall.") > score(dry, "A large hall.") + 0.05
