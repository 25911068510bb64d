"""A scene rendered to a clip."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from prismaudio.types import Clip
from prismaudio_studio.world.audio import render_audio
from prismaudio_studio.world.video import render_video

if TYPE_CHECKING:
    from prismaudio_studio.world.scene import Scene


def render_clip(
    scene: Scene, size: int | tuple[int, int] = 48, fps: float = 16.0, sample_rate_hz: int = 16_000
) -> Clip:
    """Frame and sound of a scene.

    Args:
        scene: What happens.
        size: Height and width in pixels, or one number for both.
        fps: Frames per second.
        sample_rate_hz: Samples per second.

    Example:
        >>> from prismaudio_studio.world import sample_scene
        >>> clip = render_clip(sample_scene(0))
        >>> tuple(clip.frames.shape), tuple(clip.audio.shape)
        ((64, 3, 48, 48), (2, 64000))
    """
    return Clip(
        id=scene.id,
        duration_s=scene.duration_s,
        frames=torch.from_numpy(render_video(scene, size, fps)),
        fps=fps,
        audio=torch.from_numpy(render_audio(scene, sample_rate_hz)),
        sample_rate_hz=sample_rate_hz,
    )
