"""VideoPrism as the encoder of the video stream. Every command imports this module, so it imports no torch."""

from __future__ import annotations

from prismaudio import Component, Stream, hookimpl


@hookimpl
def prismaudio_encoders() -> list[Component]:
    """The encoder."""
    summary = "Video: frame embeddings of VideoPrism, four a second."
    return [Component("prismaudio_videoprism.encoder:VideoPrismEncoder", summary, stream=Stream("video", 1024, 4.0))]
