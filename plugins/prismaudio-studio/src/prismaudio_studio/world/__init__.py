"""The studio: a procedural world of objects with video, audio and exact ground truth."""

from prismaudio_studio.world.audio import render_audio
from prismaudio_studio.world.clips import render_clip
from prismaudio_studio.world.sampling import sample_scene
from prismaudio_studio.world.scene import Scene, Thing
from prismaudio_studio.world.video import render_video

__all__ = ["Scene", "Thing", "render_audio", "render_clip", "render_video", "sample_scene"]
