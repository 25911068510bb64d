from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest

from prismaudio.data.extraction import LoadedClip
from prismaudio.data.manifest import ManifestEntry
from prismaudio.data.read_ahead import GROUP, batches_of_like_length, of_one_file, read_ahead
from prismaudio.errors import MediaError
from prismaudio.media.threads import MediaThreads
from prismaudio.types import Clip

ENTRIES = [ManifestEntry(str(number), video=Path(f"{number}.mp4")) for number in range(20)]


def loaded(name, duration_s=1.0):
    return LoadedClip(ManifestEntry(name), Clip(name, duration_s), {}, None)


class Reader:
    """Reads clips in no order, and counts how many are read and not taken."""

    def __init__(self):
        self.lock, self.n_read, self.n_taken, self.most_waiting = threading.Lock(), 0, 0, 0
        self.threads: dict[str, str] = {}

    def __call__(self, entry):
        time.sleep(0.01 * (int(entry.id) % 3))
        with self.lock:
            self.n_read += 1
            self.most_waiting = max(self.most_waiting, self.n_read - self.n_taken)
            self.threads[entry.id] = threading.current_thread().name
        if entry.id == "7":
            raise MediaError("it is broken")
        return loaded(entry.id)


@pytest.mark.parametrize("workers", [0, 1, 4])
def test_clips_come_in_order_and_no_more_of_them_than_asked_for_wait(workers):
    reader, found = Reader(), []
    with MediaThreads(workers) as threads:
        for entry, outcome in read_ahead(of_one_file(ENTRIES), reader, threads, 5):
            with reader.lock:
                reader.n_taken += 1
            found.append(entry.id)
            assert isinstance(outcome, MediaError if entry.id == "7" else LoadedClip)
            time.sleep(0.005)
    assert found == [entry.id for entry in ENTRIES]
    assert reader.most_waiting <= 6  # the one in hand is not counted as taken before the loop has it
    assert (threading.current_thread().name in reader.threads.values()) == (workers == 0)


def test_clips_of_one_file_are_read_by_one_thread():
    reader = Reader()
    entries = [ManifestEntry(str(n), video=Path(f"{n // 10}.mp4")) for n in range(20)]
    with MediaThreads(4) as threads:
        assert len(list(read_ahead(of_one_file(entries), reader, threads, 20))) == 20
    for start in (0, 10):
        assert len({reader.threads[str(n)] for n in range(start, start + GROUP)}) == 1


def test_who_stops_early_waits_for_nothing_else():
    reader = Reader()
    with MediaThreads(2) as threads:
        outcomes = read_ahead(of_one_file(ENTRIES), reader, threads, 4)
        assert next(outcomes)[0].id == "0"
        outcomes.close()
    assert reader.n_read <= 6


def test_batches_are_of_one_length_and_few_clips_wait_for_others():
    lengths = [1.0, 2.0, 1.1, 3.0, 1.0, 2.1, 1.0]
    batches = list(batches_of_like_length([loaded(str(n), length) for n, length in enumerate(lengths)], 2))
    assert [[clip.entry.id for clip in batch] for batch in batches] == [["0", "2"], ["1", "5"], ["4", "6"], ["3"]]
    different = [loaded(str(n), 1.0 + n) for n in range(12)]
    assert [len(batch) for batch in batches_of_like_length(different, 2)] == [1] * 12
