"""What begins to move is seen when it does."""

import pytest
import torch

from prismaudio.audio.motion import change_peaks


def flashes(times_s, fps=16.0, size=(48, 64), grain=0.0):
    """A square that lights up and fades, on grainy film."""
    n = round(4 * fps)
    times = torch.arange(n) / fps
    light = sum(torch.where(times >= t, torch.exp(-(times - t) / 0.07), 0.0) for t in times_s)
    frames = grain * torch.randn(n, 3, *size, generator=torch.Generator().manual_seed(0)) + 90
    frames[:, :, 10:30, 10:30] += 120 * light.clamp(0, 1)[:, None, None, None]
    return frames.clamp(0, 255).byte()


@pytest.mark.parametrize("grain", [0.0, 4.0])
@pytest.mark.parametrize(("fps", "size"), [(16.0, (48, 64)), (25.0, (240, 320))])
def test_flashes_are_seen(fps, size, grain) -> None:
    times_s, weights = change_peaks(flashes([1.0, 2.5], fps, size, grain), fps)
    assert times_s[weights > 0.5].tolist() == pytest.approx([1.0, 2.5], abs=1.01 / fps)


@pytest.mark.parametrize("n", [1, 2, 5])
def test_stills_and_single_frames_show_nothing(n) -> None:
    times_s, weights = change_peaks(torch.full((n, 3, 48, 48), 90, dtype=torch.uint8), 16.0)
    assert len(times_s) == len(weights) == 0
