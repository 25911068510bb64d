"""A plugin of one file with encoders of the names of the published model's, for tests without the real ones.

Each of them multiplies the mean colour of the frames, or the length of the text, by the weights of its file.
"""

from __future__ import annotations

import io
import os
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save

from prismaudio import Component, Stream, hookimpl
from prismaudio.checkpoints import Configured
from prismaudio.encoders.base import Encoder
from prismaudio.weight_files import read_weights

DIMS = {"video": 6, "sync": 5, "text": 7}
PLAN = "<Semantic> a bell <Temporal> it rings at 0.2 s <Aesthetic> clean <Spatial> centre"
DEFAULTS = "PUBLISHED_DEFAULTS"
"""Names the folder with the default weights of the encoders, ``video.safetensors`` and ``text.safetensors``."""


class Small(Configured, torch.nn.Module, Encoder):
    """Base of the three."""

    stream = ""

    def __init__(self, weights: str | None = None) -> None:
        super().__init__()
        self.dim = DIMS[self.stream]
        self.weight = torch.nn.Parameter(torch.zeros(self.dim, 3))
        self.config = {"weights": ""}
        if weights != "":
            path = Path(weights or f"{os.environ[DEFAULTS]}/{self.stream}.safetensors")
            self.weight = torch.nn.Parameter(self.read(path))
        self.requires_grad_(requires_grad=False)

    @staticmethod
    def read(path: Path) -> torch.Tensor:
        (weight,) = read_weights(path).values()
        return weight.float()

    def colours(self, clip, rate_hz: float) -> torch.Tensor:
        count = max(1, int(clip.duration_s * rate_hz))
        if clip.frames is None:
            return torch.zeros(0, 3)
        at = torch.linspace(0, len(clip.frames) - 1, count).long()
        return clip.frames[at].float().mean((2, 3)) / 255


class VideoPrismEncoder(Small):
    stream, rate_hz, reads_plan = "video", 4.0, False

    @staticmethod
    def read(path: Path) -> torch.Tensor:
        if path.suffix == ".npz":
            with np.load(path, allow_pickle=False) as file:
                return torch.from_numpy(file["weight"]).float()
        return Small.read(path)

    def encode(self, clip, plan):
        return self.colours(clip, 4.0) @ self.weight.T


class SynchformerEncoder(Small):
    stream, rate_hz, reads_plan, group = "sync", 25.0, False, 8

    @staticmethod
    def read(path: Path) -> torch.Tensor:
        return read_weights(path)["vfeat_extractor.weight"].float()

    def encode(self, clip, plan):
        return (self.colours(clip, 3.0) @ self.weight.T).repeat_interleave(8, 0)


class T5GemmaEncoder(Small):
    stream, rate_hz = "text", None

    @staticmethod
    def read(path: Path) -> torch.Tensor:
        return Small.read(path / "model.safetensors" if path.is_dir() else path)

    def encode(self, clip, plan):
        lengths = [[len(text) % 7, len(text) % 5, 1] for text in plan.values()]
        return torch.tensor(lengths, dtype=torch.float32).reshape(-1, 3) @ self.weight.T


@hookimpl
def prismaudio_encoders():
    kinds = (
        ("VideoPrismEncoder", "video", 4.0),
        ("SynchformerEncoder", "sync", 25.0),
        ("T5GemmaEncoder", "text", None),
    )
    hidden = os.environ.get("PUBLISHED_HIDDEN", "").split(",")
    return [
        Component(
            f"published_plugin:{name}", f"{stream.capitalize()}: for tests.", stream=Stream(stream, DIMS[stream], hz)
        )
        for name, stream, hz in kinds
        if name not in hidden
    ]


def random(*shape, seed):
    """Random numbers."""
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def _bundled():
    """Files of the encoders of the layout that has all of them."""
    buffer = io.BytesIO()
    np.savez(buffer, weight=random(DIMS["video"], 3, seed=4).numpy())
    text = {"model.safetensors": save({"weight": random(DIMS["text"], 3, seed=5)})}
    others = ("config.json", "tokenizer.json", "tokenizer_config.json")
    text |= {name: f'{{"name": "{name}"}}'.encode() for name in others}
    return {
        "videoprism-lvt-large-f8r288/flax_lvt_large_f8r288_repeated.npz": buffer.getvalue(),
        **{f"t5gemma-l-l-ul2-it/{name}": data for name, data in text.items()},
    }


def made(name, seed=0):
    """The files of a layout by path, for these encoders."""
    from published_layouts import layout  # not on the path of the processes that tests start

    sync = {"vfeat_extractor.weight": random(DIMS["sync"], 3, seed=3), "afeat_extractor.weight": torch.ones(2)}
    return layout(name, DIMS, sync, _bundled(), seed)
