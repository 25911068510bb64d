"""Image backbones of timm as encoders of video. Every command imports this module, so it imports no torch."""

from __future__ import annotations

from prismaudio import Component, Stream, hookimpl


@hookimpl
def prismaudio_encoders() -> list[Component]:
    """The encoder."""
    summary = "Video: pooled features of each frame by an image backbone of timm."
    return [Component("prismaudio_timm.encoder:TimmEncoder", summary, stream=Stream("video", 1024, 4.0))]
