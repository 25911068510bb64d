"""PrismAudio: video-to-audio generation with chain-of-thought planning."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

import pluggy

from prismaudio.components import Command, Component, Dimension, Pretrained, Stream

if TYPE_CHECKING:
    from prismaudio.evaluation.files import score
    from prismaudio.inference import PrismAudio

__version__ = "0.2.0"
__all__ = [
    "Command",
    "Component",
    "Dimension",
    "Pretrained",
    "PrismAudio",
    "Stream",
    "__version__",
    "hookimpl",
    "score",
]

_TARGETS = {"PrismAudio": "prismaudio.inference", "score": "prismaudio.evaluation.files"}

hookimpl = pluggy.HookimplMarker("prismaudio")


def __getattr__(name: str) -> Any:
    if name in _TARGETS:  # imported on first access, because they import torch
        return getattr(import_module(_TARGETS[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
