"""Held-out clips of the studio world, made ready to be measured."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from prismaudio.media import read_clip, write_video
from prismaudio.metrics.target import Target, measure_late_energy_db, measure_noise_floor_db
from prismaudio.plan.story import SIDE_DEG
from prismaudio.types import Clip, FrameSpec
from prismaudio_studio.world.audio import render_audio
from prismaudio_studio.world.scene import Scene
from prismaudio_studio.world.video import render_video

if TYPE_CHECKING:
    from prismaudio.plan.story import Story

RATE_HZ = 16_000


@dataclass(frozen=True, eq=False)
class Take:
    """A clip to be measured.

    Args:
        index: Its number in the split.
        scene: What it shows.
        audio: Its true audio ``(2, samples)`` at 16 kHz.
        truth: What should be heard.
        clip: Its silent frame; None when no row looks at it.
    """

    index: int
    scene: Scene
    audio: Tensor
    truth: Target
    clip: Clip | None


@dataclass(frozen=True)
class Camera:
    """Makes silent clips of scenes, as a model wants to watch them.

    Args:
        filmed: Film a scene at its own size and frame rate and read the file, as ``prismaudio studio render`` and
            ``prismaudio generate`` do; otherwise draw it as the model's training clips are drawn.
        frames: Rate and size of the frames that the model watches.
    """

    filmed: bool = False
    frames: FrameSpec = field(default_factory=FrameSpec)
    _kept: dict[str, Clip] = field(default_factory=dict)

    def __call__(self, scene: Scene) -> Clip:
        """The silent clip of a scene; those of a single thing, whose plans are edited later, are kept."""
        clip = self._kept.get(scene.id) or self._shoot(scene)
        if len(scene.things) == 1:
            self._kept[scene.id] = clip
        return clip

    def _shoot(self, scene: Scene) -> Clip:
        if not self.filmed:
            frames = torch.as_tensor(render_video(scene, self.frames.size, self.frames.fps))
            return Clip(scene.id, scene.duration_s, frames, self.frames.fps)
        frames = torch.as_tensor(render_video(scene, scene.look.size_px, scene.look.fps))
        with TemporaryDirectory() as folder:
            path = Path(folder) / "filmed.mp4"
            write_video(frames, scene.look.fps, path)
            return replace(read_clip(path, self.frames), id=scene.id)


def take(index: int, scene: Scene, camera: Camera | None) -> Take:
    """Render a scene, without its frame if there is no camera."""
    audio = torch.as_tensor(render_audio(scene, RATE_HZ)).float()
    truth = Target(scene.story, tuple(scene.events))
    floor_db = measure_noise_floor_db(audio, RATE_HZ)
    truth = replace(truth, noise_floor_db=floor_db, late_energy_db=measure_late_energy_db(audio, RATE_HZ, truth))
    return Take(index, scene, audio, truth, camera(scene) if camera else None)


def restage(scene: Scene, story: Story) -> Scene:
    """The scene of a single thing as an edited story tells it."""
    source, thing = story.sources[0], scene.things[0]
    first_deg, last_deg = source.azimuth_deg or (0.0, 0.0)
    edited = replace(
        thing,
        what=source.what,
        onsets_s=source.onsets_s,
        end_s=source.end_s,
        x=(first_deg / SIDE_DEG, last_deg / SIDE_DEG),
    )
    return replace(scene, things=(edited,))
