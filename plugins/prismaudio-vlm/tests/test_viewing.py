"""How a clip is watched."""

from __future__ import annotations

import pytest
import torch

from prismaudio.media import write_video
from prismaudio.types import Clip
from prismaudio_vlm.viewing import Change, Segment, Viewing, Watched, audio_of

from .conftest import numbered


def flashes(duration_s, at_s, fps=10.0):
    """A black clip in which a small thing appears at some times, for one frame."""
    frames = torch.zeros(round(duration_s * fps), 3, 48, 48, dtype=torch.uint8)
    for time_s in at_s:
        frames[round(time_s * fps), :, 10:14, 30:34] = 255
    return Clip("flashes", duration_s, frames, fps)


def test_moments_are_where_a_small_thing_changes():
    viewing = Viewing(moment_fps=8.0, max_frames=16, moment_s=1.0)
    clip = flashes(20.0, [3.0, 15.0])
    first, second = viewing.moments(Segment(0.0, 20.0), Change.of(clip))
    assert (first[0], len(first)) == (pytest.approx(2.5, abs=0.15), 8)
    assert (second[0], len(second)) == (pytest.approx(14.5, abs=0.15), 8)
    assert first[1] - first[0] == pytest.approx(1 / 8)


def test_a_still_clip_has_no_moments_and_a_short_one_is_one_moment():
    viewing = Viewing(moment_fps=8.0, max_frames=16)
    assert viewing.moments(Segment(0.0, 20.0), Change.of(flashes(20.0, []))) == []
    (whole,) = viewing.moments(Segment(0.0, 2.0), Change.of(flashes(2.0, [])))
    assert whole == [index / 8 for index in range(16)]
    assert viewing.moments(Segment(0.0, 0.05), Change.of(flashes(0.1, []))) == [[0.0]]


def test_moments_that_adjoin_are_one_and_stay_in_the_segment():
    viewing = Viewing(moment_fps=4.0, max_frames=8, moment_s=1.0)
    (joined,) = viewing.moments(Segment(10.0, 30.0), Change.of(flashes(30.0, [20.0, 21.1, 5.0])))
    assert len(joined) == 8
    (edge,) = viewing.moments(Segment(10.0, 30.0), Change.of(flashes(30.0, [10.1])))
    assert edge[0] == 10.0


def test_segments_begin_at_cuts_near_their_ideal_bounds():
    frames = torch.zeros(600, 3, 16, 16, dtype=torch.uint8)
    frames[330:] = 200
    clip = Clip("shots", 60.0, frames, 10.0)
    viewing = Viewing(segment_s=30.0)
    assert viewing.segments(60.0, Change.of(clip)) == [Segment(0.0, 33.0), Segment(33.0, 60.0)]
    assert viewing.segments(30.0, Change.of(clip)) == [Segment(0.0, 30.0)]
    many = viewing.segments(7200.0, Change.of(clip))
    assert len(many) == 16
    assert many[-1].end_s == 7200.0


def test_a_longer_segment_is_shown_at_a_lower_rate():
    times_s = Viewing(fps=2.0, max_frames=10).whole(Segment(10.0, 30.0))
    assert times_s == [10.0 + 2 * index for index in range(10)]
    assert Viewing(fps=2.0).whole(Segment(0.0, 0.2)) == [0.0]


def test_frames_are_decoded_once_with_their_true_times(tmp_path, monkeypatch):
    frames = (torch.arange(20, dtype=torch.uint8) * 12)[:, None, None, None].expand(-1, 3, 32, 48).contiguous()
    write_video(frames, 10, tmp_path / "a.mp4")
    calls = []
    from prismaudio_vlm import viewing

    reading = viewing.read_frames_at
    monkeypatch.setattr(viewing, "read_frames_at", lambda *words: calls.append(words) or reading(*words))
    clip = Clip("a", 2.0, frames[:, :, :4, :4], 10.0, file=tmp_path / "a.mp4")
    watched = Watched(clip, [0.0, 0.55, 1.0, 1.92], 16)
    view = watched.view([0.55, 1.92], "some")
    assert len(calls) == 1
    assert view.times_s == pytest.approx((0.5, 1.9))
    assert view.frames.shape == (2, 3, 16, 24)
    assert [round(float(frame.float().mean())) for frame in view.frames] == pytest.approx([60, 228], abs=3)


def test_a_frame_that_is_shown_twice_is_there_once():
    watched = Watched(numbered(1.0, 4.0), [0.0, 0.1, 0.2, 0.3], 16)
    assert watched.view([0.0, 0.1, 0.2, 0.3], "").times_s == (0.0, 0.25)


def test_without_frames_there_is_nothing_to_see():
    assert Change.of(Clip("a", 1.0)).cuts_s == []
    assert Watched(Clip("a", 1.0), [], 16).view([], "").times_s == ()
    assert audio_of(Clip("a", 1.0)) is None
