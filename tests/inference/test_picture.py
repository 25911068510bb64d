from __future__ import annotations

import av
import numpy as np
import pytest
import torch

from prismaudio.inference.letters import write
from prismaudio.inference.picture import LEFT, PANEL, picture_png
from prismaudio.plan.story import Source, Story

STORY = Story((Source("bell", (0.5, 1.0), None, (30.0, 30.0)), Source("cart", (0.2,), 1.8, (-40.0, 10.0))))


def decoded(data: bytes, tmp_path) -> np.ndarray:
    (tmp_path / "a.png").write_bytes(data)
    with av.open(tmp_path / "a.png") as file:
        return next(file.decode(video=0)).to_ndarray(format="rgb24")


def test_a_picture_shows_where_the_sound_is(tmp_path):
    t = torch.arange(32_000) / 16_000
    audio = torch.stack([torch.sin(2 * torch.pi * 6000 * t) * (t > 1), torch.zeros_like(t)])
    image = decoded(picture_png(audio, 16_000, STORY), tmp_path).astype(float).sum(2)
    top = image.shape[0] - 26 - 2 * PANEL - 10
    left, right = image[top : top + PANEL, LEFT:-12], image[top + PANEL + 10 : top + 2 * PANEL + 10, LEFT:-12]
    row, _ = np.unravel_index(left.argmax(), left.shape)
    assert row / PANEL == pytest.approx(1 - 6000 / 8000, abs=0.03)
    assert left[:, left.shape[1] // 2 + 10 :].mean() > left[:, : left.shape[1] // 2 - 10].mean()
    assert left.mean() > right.mean()


@pytest.mark.parametrize("duration_s", [0.2, 4.0, 700.0])
@pytest.mark.parametrize("story", [STORY, Story()])
def test_any_length_makes_a_picture(tmp_path, duration_s, story):
    image = decoded(picture_png(torch.zeros(2, round(duration_s * 16_000)), 16_000, story), tmp_path)
    assert 480 <= image.shape[1] <= 4100


def test_letters_that_do_not_fit_are_left_out():
    image = np.zeros((10, 10, 3), np.uint8)
    write(image, "ABC", 4, 0, (9, 9, 9), scale=1)
    write(image, "A", -2, 0, (9, 9, 9))
    write(image, "é", 0, 0, (9, 9, 9))
    assert image[:, 8:].sum() == 0
    assert image[:, 4:7].sum() > 0
