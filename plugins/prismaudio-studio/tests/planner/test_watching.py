from __future__ import annotations

import pytest
import torch

from prismaudio.plan.story import Source, Story
from prismaudio.types import Clip
from prismaudio_studio.narration import narrate
from prismaudio_studio.planner.watching import confirmed, joint_story, watch


def test_what_one_window_alone_sees_is_left_out():
    piece = Story((Source("bell", (0.5, 1.5)), Source("cart", (0.0,), 1.0)))
    cart = Source("cart", (0.0,), 4.0)
    assert confirmed(piece, 1.0, [(0.0, Story((cart,)))], 4.0).sources == (piece.sources[1],)
    assert confirmed(piece, 9.0, [(0.0, Story((cart,)))], 4.0) == piece


def test_a_thing_that_goes_on_is_one():
    story = joint_story(
        [
            (0.0, Story((Source("cart", (1.0,), 3.0, (-30, 0)),), "clean")),
            (3.0, Story((Source("cart", (0.0,), 2.0, (0, 20)), Source("bell", (0.5,))), "clean")),
            (6.0, Story((Source("bell", (0.5,)),), "noisy")),
        ]
    )
    cart, bell = story.sources
    assert cart == Source("cart", (1.0,), 5.0, (-30, 20))
    assert bell.onsets_s == (3.5, 6.5)
    assert story.quality == "clean"


class Clockwork:
    """Sees one bell each second of what it is shown, by the number that the first frame carries."""

    def __init__(self) -> None:
        self.shown: list[float] = []

    def see(self, clip: Clip) -> Story:
        self.shown.append(clip.duration_s)
        first_s = float(clip.frames[0, 0, 0, 0]) / 16
        times = tuple(k + 0.25 - first_s for k in range(60) if 0 <= k + 0.25 - first_s < clip.duration_s)
        return Story((Source("bell", times, None, (0.0, 0.0)),), "clean", "dry")


@pytest.mark.parametrize("duration_s", [1.0, 3.5, 4.0, 5.5, 10.0, 12.7])
def test_long_clips_are_watched_in_windows_without_losing_or_repeating_anything(duration_s):
    n = round(duration_s * 16)
    frames = torch.arange(n, dtype=torch.uint8).reshape(n, 1, 1, 1).expand(n, 3, 2, 2)
    clockwork = Clockwork()
    story = watch(clockwork.see, Clip("a", duration_s, frames, 16.0), 4.0)
    expected = [k + 0.25 for k in range(60) if k + 0.25 < duration_s]
    assert story.sources[0].onsets_s == pytest.approx(expected)
    assert set(clockwork.shown) == {4.0}
    narrate(story).check(duration_s)
