from __future__ import annotations

import pytest
import torch

from prismaudio.encoders.brightness import BrightnessEncoder, brightness
from prismaudio.errors import MediaError
from prismaudio.plan import Plan
from prismaudio.types import Clip


def test_each_column_has_its_mean():
    frames = torch.zeros(2, 3, 6, 9, dtype=torch.uint8)
    frames[1, :, :, 3:6] = 255
    frames[1, 0, :3, 6:] = 255
    seen = BrightnessEncoder(3, 4.0).encode(Clip("a", 0.5, frames, 4.0), Plan({}))
    torch.testing.assert_close(seen, torch.tensor([[0.0, 0, 0], [0, 1, 1 / 6]]))
    torch.testing.assert_close(brightness(frames.expand(5, 2, 3, 6, 9), 3), seen.expand(5, 2, 3))


def test_a_clip_without_frames_has_no_features_and_another_rate_is_refused():
    assert BrightnessEncoder(3).encode(Clip("a", 1.0), Plan({})).shape == (0, 3)
    with pytest.raises(MediaError, match=r"has 25\.0 frames a second, expected 8\.0"):
        BrightnessEncoder(3).encode(Clip("a", 1.0, torch.zeros(25, 3, 4, 4, dtype=torch.uint8), 25.0), Plan({}))


def test_it_reads_no_text():
    assert BrightnessEncoder().unknown("A dog.") is None


@pytest.mark.parametrize("arguments", [{"columns": 0}, {"rate_hz": float("nan")}])
def test_sizes_out_of_range_are_refused(arguments):
    with pytest.raises(ValueError, match="expected"):
        BrightnessEncoder(**arguments)
