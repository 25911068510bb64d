"""The studio: a procedural world of things that are seen and heard, with exact truth."""

from prismaudio.studio.audio import render_audio
from prismaudio.studio.clips import render_clip
from prismaudio.studio.sampling import sample_scene
from prismaudio.studio.scene import Scene, Thing
from prismaudio.studio.video import render_video

__all__ = ["Scene", "Thing", "render_audio", "render_clip", "render_video", "sample_scene"]
