"""What the tests install: a text encoder of a few words, and the model "tiny" that is made with it.

A plugin of one file, found through ``PRISMAUDIO_PLUGINS``; the fixture ``tiny_plugin`` sets it.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import torch

from prismaudio import Component, Pretrained, Stream, hookimpl
from prismaudio.checkpoints import Configured
from prismaudio.encoders.base import Encoder
from prismaudio.plan.nouns import Nouns, clauses
from prismaudio.plan.reading import describes_sound

FOLDER_VARIABLE = "TINY_MODEL_FOLDER"
"""Names the folder of the model; without it there is none."""


class TinyTextEncoder(Configured, Encoder):
    """A fixed vector for each word of a plan.

    Args:
        dim: Dim of a vector.
    """

    rate_hz = None
    vocabulary = ("bell", "drum", "engine", "click")

    def __init__(self, dim: int = 16) -> None:
        self.dim = dim

    def encode(self, clip, plan):
        words = [f"{name} {word}" for name, text in plan.items() for word in text.split()]
        return torch.stack([self.vector(word) for word in words]) if words else torch.zeros(0, self.dim)

    def vector(self, word):
        seed = int.from_bytes(hashlib.blake2b(word.encode(), digest_size=4).digest(), "big")
        return torch.randn(self.dim, generator=torch.Generator().manual_seed(seed))

    def unknown(self, text):
        nouns = Nouns(self.vocabulary)
        return [c for c in clauses(text) if not nouns.mentions(c) and not any(map(describes_sound, c.split()))]


@hookimpl
def prismaudio_encoders():
    stream = Stream("text", 16)
    return [Component("tiny_plugin:TinyTextEncoder", "Text: a vector for each word.", stream=stream)]


@hookimpl
def prismaudio_models():
    folder = os.environ.get(FOLDER_VARIABLE)
    return [Pretrained("tiny", Path(folder), "Random weights.")] if folder else []
