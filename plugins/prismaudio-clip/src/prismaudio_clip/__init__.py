"""CLIP, SigLIP and X-CLIP as encoders of video. Every command imports this module, so it imports no torch."""

from __future__ import annotations

from pathlib import Path

from prismaudio import Component, Stream, hookimpl


@hookimpl
def prismaudio_encoders() -> list[Component]:
    """The encoders."""
    frames = "Video: an embedding of each frame by CLIP or SigLIP."
    windows = "Video: an embedding of each frame by X-CLIP, in windows of its number of frames."
    return [
        Component("prismaudio_clip.encoder:ClipEncoder", frames, stream=Stream("video", 768, 4.0)),
        Component("prismaudio_clip.encoder:XClipEncoder", windows, stream=Stream("video", 512, 4.0)),
    ]


@hookimpl
def prismaudio_recipes() -> list[Path]:
    """The recipes."""
    return [Path(__file__).with_name("recipes")]
