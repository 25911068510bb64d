from __future__ import annotations

import pytest
import torch

from prismaudio.builtin import CORE_DIMENSIONS
from prismaudio.types import Clip


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    """A cache folder for each test."""
    monkeypatch.setenv("PRISMAUDIO_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def dimensions():
    """The dimensions of the paper."""
    return CORE_DIMENSIONS


@pytest.fixture
def clip():
    """Four seconds at 10 frames per second; the number of a frame is the value of its pixels."""
    return numbered(4.0)


def numbered(duration_s, fps=10.0, name="walk"):
    """A clip whose pixels are the number of their frame."""
    n_frames = max(1, round(duration_s * fps))
    frames = torch.arange(n_frames, dtype=torch.uint8)[:, None, None, None].expand(-1, 3, 24, 32).contiguous()
    return Clip(name, duration_s, frames, fps)
