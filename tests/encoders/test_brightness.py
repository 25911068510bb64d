from __future__ import annotations

import pytest
import torch

from prismaudio.encoders.brightness import BrightnessEncoder, brightness
from prismaudio.errors import MediaError
from prismaudio.plan import Plan
from prismaudio.types import Clip


def test_brightness_is_the_mean_of_each_column():
    frames = torch.zeros(2, 3, 6, 9, dtype=torch.uint8)
    frames[1, :, :, 3:6] = 255
    frames[1, 0, :3, 6:] = 255
    features = BrightnessEncoder(3, 4.0).encode(Clip("a", 0.5, frames, 4.0), Plan({}))
    torch.testing.assert_close(features, torch.tensor([[0.0, 0, 0], [0, 1, 1 / 6]]))
    torch.testing.assert_close(brightness(frames.expand(5, 2, 3, 6, 9), 3), features.expand(5, 2, 3))


def test_no_frames_give_no_features_and_another_rate_is_rejected():
    assert BrightnessEncoder(3).encode(Clip("a", 1.0), Plan({})).shape == (0, 3)
    with pytest.raises(MediaError, match=r"has 25\.0 frames per second, expected 8\.0"):
        BrightnessEncoder(3).encode(Clip("a", 1.0, torch.zeros(25, 3, 4, 4, dtype=torch.uint8), 25.0), Plan({}))


def test_encoder_reads_no_text():
    assert BrightnessEncoder().unknown("A dog.") is None


@pytest.mark.parametrize("arguments", [{"columns": 0}, {"rate_hz": float("nan")}])
def test_arguments_out_of_range_are_rejected(arguments):
    with pytest.raises(ValueError, match="expected"):
        BrightnessEncoder(**arguments)
