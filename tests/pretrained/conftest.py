from __future__ import annotations

from pathlib import Path

import published_plugin
import pytest
import torch
from published_plugin import DIMS, random
from safetensors.torch import save_file

from prismaudio.media import write_video

REAL = "videoprism,synchformer,t5gemma"
"""Plugins of the encoders whose names those of the tests have."""


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A folder with a video, and a plugin with the three encoders and their default weights."""
    monkeypatch.setenv("PRISMAUDIO_PLUGINS", str(Path(published_plugin.__file__)))
    monkeypatch.setenv("PRISMAUDIO_DISABLE_PLUGINS", REAL, prepend=",")
    monkeypatch.setenv("PUBLISHED_DEFAULTS", str(tmp_path / "defaults"))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "defaults").mkdir()
    for seed, stream in enumerate(("video", "text")):
        save_file({"weight": random(DIMS[stream], 3, seed=seed)}, tmp_path / "defaults" / f"{stream}.safetensors")
    frames = (random(20, 3, 32, 48, seed=9) * 255).abs().clamp(max=255).to(torch.uint8)
    write_video(frames, 20.0, tmp_path / "clip.mp4")
    return tmp_path
