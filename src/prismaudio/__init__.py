"""PrismAudio: video-to-audio generation that thinks before it makes sound."""

from typing import TYPE_CHECKING, Any

import pluggy

from prismaudio.components import Component, Dimension

if TYPE_CHECKING:
    from prismaudio.generation import PrismAudio, score

__version__ = "0.1.0"
__all__ = ["Component", "Dimension", "PrismAudio", "__version__", "hookimpl", "score"]

hookimpl = pluggy.HookimplMarker("prismaudio")


def __getattr__(name: str) -> Any:
    if name in ("PrismAudio", "score"):  # they import torch, so only when asked for
        from prismaudio import generation

        return getattr(generation, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
