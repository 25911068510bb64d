"""Prepare held-out clips of the studio world for evaluation."""

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
    from prismaudio_studio.world.bank import SoundBank

RATE_HZ = 16_000


@dataclass(frozen=True, eq=False)
class Take:
    """A clip to evaluate.

    Args:
        index: Index in the split.
        scene: The scene of the clip.
        audio: Ground-truth audio ``(2, samples)`` at 16 kHz.
        target: Target of the metrics.
        clip: The video without audio; None if no row needs it.
    """

    index: int
    scene: Scene
    audio: Tensor
    target: Target
    clip: Clip | None


@dataclass(frozen=True)
class Camera:
    """Renders scenes to clips without audio, at the frame rate and size of a model.

    Args:
        filmed: Encode the video at the scene's own size and frame rate and decode the file, as ``prismaudio studio
            render`` and ``prismaudio generate`` do; otherwise render it directly, like the training clips.
        frames: Frame rate and size of the model's input.
    """

    filmed: bool = False
    frames: FrameSpec = field(default_factory=FrameSpec)
    _cache: dict[str, Clip] = field(default_factory=dict)

    def __call__(self, scene: Scene) -> Clip:
        """Render a scene; clips with a single source are cached, because their plans are edited later."""
        clip = self._cache.get(scene.id) or self._render(scene)
        if len(scene.things) == 1:
            self._cache[scene.id] = clip
        return clip

    def _render(self, scene: Scene) -> Clip:
        if not self.filmed:
            frames = torch.as_tensor(render_video(scene, self.frames.size, self.frames.fps))
            return Clip(scene.id, scene.duration_s, frames, self.frames.fps)
        frames = torch.as_tensor(render_video(scene, scene.look.size_px, scene.look.fps))
        with TemporaryDirectory() as folder:
            path = Path(folder) / "filmed.mp4"
            write_video(frames, scene.look.fps, path)
            return replace(read_clip(path, self.frames), id=scene.id, file=None)


def take(index: int, scene: Scene, camera: Camera | None, bank: SoundBank | None = None) -> Take:
    """Render a scene, without video if there is no camera, with the sounds of a bank if there is one."""
    audio = torch.as_tensor(render_audio(scene, RATE_HZ, bank)).float()
    target = Target(scene.story, tuple(scene.events))
    floor_db = measure_noise_floor_db(audio, RATE_HZ)
    target = replace(target, noise_floor_db=floor_db, late_energy_db=measure_late_energy_db(audio, RATE_HZ, target))
    return Take(index, scene, audio, target, camera(scene) if camera else None)


def restage(scene: Scene, story: Story) -> Scene:
    """Apply an edited story to a scene with a single source."""
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
