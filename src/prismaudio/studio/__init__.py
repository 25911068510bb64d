"""The studio: a procedural world of things that are seen and heard, with exact truth."""

from prismaudio.studio.audio import render_audio
from prismaudio.studio.sampling import sample_scene
from prismaudio.studio.scene import Scene, Thing

__all__ = ["Scene", "Thing", "render_audio", "sample_scene"]
