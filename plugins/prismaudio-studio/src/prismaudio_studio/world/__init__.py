"""The studio: a procedural world of things that are seen and heard, with exact truth."""

from prismaudio_studio.world.audio import render_audio
from prismaudio_studio.world.clips import render_clip
from prismaudio_studio.world.sampling import sample_scene
from prismaudio_studio.world.scene import Scene, Thing
from prismaudio_studio.world.video import render_video

__all__ = ["Scene", "Thing", "render_audio", "render_clip", "render_video", "sample_scene"]
