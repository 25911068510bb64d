from __future__ import annotations

from fractions import Fraction

import pytest
import torch

from prismaudio.inference.segments import CHUNK_SEGMENTS, Grid, joined, padded
from prismaudio.types import Clip

GRID = Grid(Fraction(125, 2), Fraction(16), 4.0)


@pytest.mark.parametrize("duration_s", [0.2, 3.99, 4.0, 4.01, 5.0, 12.0, 61.3])
def test_segments_cover_the_clip_and_begin_with_a_frame(duration_s):
    starts = GRID.starts(duration_s)
    assert starts[0] == 0
    assert GRID.total(duration_s) >= duration_s * 62.5
    assert GRID.total(duration_s) < max(duration_s, 4.0) * 62.5 + GRID.hop + 1
    assert all(float(start / GRID.rate_hz) * 16 % 1 == 0 for start in starts)


def test_a_rate_without_common_moments_still_has_windows():
    grid = Grid(Fraction(125, 2), Fraction(30_000, 1001), 4.0)
    assert grid.hop == 125
    assert grid.starts(5.0) == [0, 125]


@pytest.mark.parametrize("duration_s", [1.0, 4.5, 9.0, 30.0])
def test_weights_add_up_to_one_everywhere(duration_s):
    starts = GRID.starts(duration_s)
    whole = torch.zeros(GRID.total(duration_s))
    for start in starts:
        whole[start : start + GRID.frames] += GRID.fade(is_first=start == 0, is_last=start == starts[-1])
    assert torch.allclose(whole, torch.ones_like(whole), atol=1e-6)


@pytest.mark.parametrize("duration_s", [1.0, 257.9, 260.0, 274.0, 500.0, 503.9, 3600.0])
def test_segments_cover_all_windows_and_their_weights_add_up_to_one(duration_s):
    chunks = GRID.chunks(5, duration_s)
    assert sorted({start for chunk in chunks for start in chunk.starts}) == GRID.starts(duration_s)
    assert all(chunk.row == 5 and len(chunk.starts) <= CHUNK_SEGMENTS for chunk in chunks)
    whole = torch.zeros(GRID.total(duration_s))
    for chunk in chunks:
        whole[chunk.starts[0] : chunk.starts[-1] + GRID.frames] += GRID.chunk_fade(chunk)
    assert torch.allclose(whole, torch.ones_like(whole), atol=1e-6)


def test_a_segment_of_a_clip_repeats_its_last_frame():
    frames = torch.arange(40, dtype=torch.uint8).reshape(40, 1, 1, 1).expand(40, 3, 2, 2)
    clip = Clip("a", 2.5, frames, 16.0)
    window = GRID.crop(clip, 0)
    assert window.frames[:, 0, 0, 0].tolist() == [*range(40), *[39] * 24]
    assert window.duration_s == 4.0
    assert GRID.crop(clip, 250).frames[0, 0, 0, 0] == 39
    assert GRID.crop(Clip("b", 9.0), 125).frames is None
    assert padded(clip, 4.0).frames.shape[0] == 64


def test_joined_velocities_are_those_of_the_windows_where_they_agree():
    places = [(0, 0), (1, 0), (1, 125), (1, 250)]
    calls = []

    def velocity(latents: torch.Tensor, times: torch.Tensor) -> torch.Tensor:
        calls.append(len(latents))
        return latents * 2 + times[:, None, None]

    latents = torch.randn(2, 3, 500)
    latents[0, :, 250:] = 0
    whole = joined(places, GRID, [(slice(0, 3), velocity), (slice(3, 6), velocity)])(latents, torch.tensor([0.5, 1.0]))
    assert calls == [3, 1]
    assert torch.allclose(whole[1], latents[1] * 2 + 1, atol=1e-5)
    assert torch.allclose(whole[0, :, :250], latents[0, :, :250] * 2 + 0.5, atol=1e-5)
    assert not whole[0, :, 250:].any()
