"""Held-out clips of the studio world, made ready to be measured."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from prismaudio.metrics.truth import Truth, measure_late_energy_db, measure_noise_floor_db
from prismaudio.studio.audio import render_audio
from prismaudio.studio.scene import MAX_AZIMUTH_DEG, Scene
from prismaudio.studio.video import render_video
from prismaudio.types import Clip

if TYPE_CHECKING:
    from prismaudio.cot.story import Story

RATE_HZ = 16_000
TRAINING_FPS = 16.0
PICTURES = ("training", "filmed")


@dataclass(frozen=True, eq=False)
class Take:
    """A clip to be measured.

    Args:
        index: Its number in the split.
        scene: What it shows.
        audio: Its true sound ``(2, samples)`` at 16 kHz.
        truth: What should be heard.
        clip: Its silent picture; None when no row looks at it.
    """

    index: int
    scene: Scene
    audio: Tensor
    truth: Truth
    clip: Clip | None


def take(index: int, scene: Scene, *, picture: str | None) -> Take:
    """Render a scene, without its picture or with one of :data:`PICTURES`."""
    audio = torch.as_tensor(render_audio(scene, RATE_HZ)).float()
    truth = Truth(scene.story, tuple(scene.events))
    floor_db = measure_noise_floor_db(audio, RATE_HZ)
    truth = replace(truth, noise_floor_db=floor_db, late_energy_db=measure_late_energy_db(audio, RATE_HZ, truth))
    clip = silent_clip(scene, filmed=picture == "filmed") if picture else None
    return Take(index, scene, audio, truth, clip)


def silent_clip(scene: Scene, *, filmed: bool = False) -> Clip:
    """The picture of a scene at training size, or of the size and frame rate at which it was filmed."""
    look = scene.look
    frames = render_video(scene, look.size_px, look.fps) if filmed else render_video(scene)
    return Clip(scene.id, scene.duration_s, torch.as_tensor(frames), look.fps if filmed else TRAINING_FPS)


def restage(scene: Scene, story: Story) -> Scene:
    """The scene of a single thing as an edited story tells it."""
    source, thing = story.sources[0], scene.things[0]
    first_deg, last_deg = source.azimuth_deg or (0.0, 0.0)
    edited = replace(
        thing,
        what=source.what,
        onsets_s=source.onsets_s,
        end_s=source.end_s,
        x=(first_deg / MAX_AZIMUTH_DEG, last_deg / MAX_AZIMUTH_DEG),
    )
    return replace(scene, things=(edited,))
