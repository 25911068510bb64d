from __future__ import annotations

import sys

import pytest

from prismaudio import progress
from prismaudio.progress import Reporter


@pytest.fixture
def clock(monkeypatch):
    """A clock that a test sets."""
    clock = {"now_s": 100.0}
    monkeypatch.setattr(progress.time, "monotonic", lambda: clock["now_s"])
    return clock


def test_rate_and_time_left_are_those_of_this_run(clock):
    with Reporter(1000, "clips") as reporter:
        clock["now_s"] += 50  # a model is loaded
        reporter.skip(400)
        clock["now_s"] += 20
        reporter.count(30, video_s=270.0)
        reporter.count(10, video_s=90.0)
        assert reporter.rate() == "2 clips/s, 18 s of video/s"
        assert reporter.time_left() == "0:04:40"
        assert reporter.done == 440


def test_before_the_first_clip_nothing_is_divided_by_zero(clock):
    with Reporter(3, "clips") as reporter:
        assert reporter.rate() == "0 clips/s, 0 s of video/s"


def test_a_terminal_shows_the_rate_beside_the_bar(clock, monkeypatch):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    with Reporter(2, "clips") as reporter:
        clock["now_s"] += 2
        reporter.count(video_s=9.0)
        (jobs, _) = reporter._bars.tasks
        assert jobs.fields["rate"] == "0.5 clips/s, 4.5 s of video/s"
