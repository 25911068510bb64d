"""Threads that read and write media: what they see of the caller, and how they end."""

from __future__ import annotations

import threading
import time
from concurrent.futures import CancelledError

import pytest
import torch

from prismaudio.media import write_video, write_video_with_audio
from prismaudio.media.clock import packets
from prismaudio.media.files import replacing
from prismaudio.media.opening import opened
from prismaudio.media.threads import MediaThreads
from prismaudio.profiling import Profile, phase


@pytest.fixture
def video(tmp_path):
    write_video(torch.randint(0, 255, (100, 3, 32, 32), dtype=torch.uint8), 25, tmp_path / "a.mp4")
    return tmp_path / "a.mp4"


def test_an_interrupt_ends_what_is_being_read_and_cancels_what_is_not(video):
    begun = threading.Event()
    n_read = []

    def read():
        with opened(video) as container:
            for packet in packets(container):
                begun.set()
                time.sleep(0.02)
                n_read.append(packet.size)

    with pytest.raises(KeyboardInterrupt), MediaThreads(1) as threads:  # noqa: PT012
        reading, waiting = threads.submit(read), threads.submit(read)
        assert begun.wait(10)
        raise KeyboardInterrupt
    assert isinstance(reading.exception(), CancelledError)
    assert waiting.cancelled()
    assert len(n_read) < 50


def test_an_interrupt_leaves_no_half_written_video(video, tmp_path, monkeypatch):
    begun = threading.Event()

    def slow(path):
        begun.set()
        time.sleep(0.3)
        return replacing(path)

    monkeypatch.setattr("prismaudio.media.writing.replacing", slow)
    with pytest.raises(KeyboardInterrupt), MediaThreads(1) as threads:  # noqa: PT012
        writing = threads.submit(write_video_with_audio, video, torch.zeros(2, 64_000), 16_000, tmp_path / "b.mp4")
        assert begun.wait(10)
        raise KeyboardInterrupt
    assert isinstance(writing.exception(), CancelledError)
    assert [path.name for path in tmp_path.iterdir()] == ["a.mp4"]


@pytest.mark.parametrize("count", [0, 2])
def test_errors_are_those_of_the_future(count):
    with MediaThreads(count) as threads:
        futures = [threads.submit(int, text) for text in ("1", "one", "3")]
    assert isinstance(futures[1].exception(), ValueError)
    assert [futures[row].result() for row in (0, 2)] == [1, 3]


def test_phases_of_threads_are_measured_beside_those_of_the_caller():
    def work():
        with phase("writing"):
            time.sleep(0.1)

    with Profile() as profile, MediaThreads(2) as threads:
        with phase("sampling"):
            futures = [threads.submit(work) for _ in range(2)]
            time.sleep(0.02)
        with phase("writing"):
            for future in futures:
                future.result()
    sampling, writing = profile.phases["sampling"], profile.phases["writing"]
    assert writing.threads_s >= 0.2
    assert sampling.threads_s == 0
    assert sampling.seconds >= 0.02
    assert writing.seconds < writing.threads_s
    titles, *rows = profile.table().splitlines()
    assert titles.split() == ["phase", "seconds", "peak", "GiB", "threads", "s"]
    assert [row.split()[0] for row in rows] == ["sampling", "writing", "all"]
