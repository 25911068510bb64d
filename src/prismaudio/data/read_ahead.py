"""Reading of clips in threads while others are encoded, and batches of clips of like length."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import groupby, islice
from typing import TypeVar

from prismaudio.data.extraction import LoadedClip
from prismaudio.data.manifest import ManifestEntry

T = TypeVar("T")

GROUP = 8
"""Clips of one file that a thread reads in sequence, so that the file is decoded once for them."""
BATCHES_WAITING = 4
"""Batches of clips that may wait for further clips of like length."""
Outcome = tuple[ManifestEntry, T | Exception]
"""What was read of a clip, or why it cannot be read."""


def read_ahead(
    entries: Sequence[ManifestEntry], read: Callable[[ManifestEntry], T], workers: int, n_ahead: int
) -> Generator[Outcome[T], None, None]:
    """Read clips in threads, in the order of the entries; PyAV decodes without the interpreter's lock.

    Args:
        entries: The clips.
        read: Reads one; an exception becomes part of the result.
        workers: Number of threads; 0 to read in the calling thread, each clip when it is asked for.
        n_ahead: Clips at most that wait to be taken, which bounds the memory.
    """
    if not workers:
        yield from (_attempt(read, entry) for entry in entries)
        return
    waiting: deque[tuple[int, Future[list[Outcome[T]]]]] = deque()
    n_waiting = 0
    executor = ThreadPoolExecutor(workers, "read-ahead")
    try:
        for group in _of_one_file(entries):
            while waiting and n_waiting + len(group) > n_ahead:
                n_clips, done = waiting.popleft()
                n_waiting -= n_clips
                yield from done.result()
            waiting.append((len(group), executor.submit(_attempt_all, read, group)))
            n_waiting += len(group)
        for _, done in waiting:
            yield from done.result()
    finally:
        executor.shutdown(wait=False, cancel_futures=True)


def _of_one_file(entries: Iterable[ManifestEntry]) -> Iterator[tuple[ManifestEntry, ...]]:
    """Consecutive clips of one file, at most :data:`GROUP` of them."""
    for _, group in groupby(entries, lambda entry: (entry.video, entry.audio)):
        while some := tuple(islice(group, GROUP)):
            yield some


def _attempt_all(read: Callable[[ManifestEntry], T], entries: Iterable[ManifestEntry]) -> list[Outcome[T]]:
    return [_attempt(read, entry) for entry in entries]


def _attempt(read: Callable[[ManifestEntry], T], entry: ManifestEntry) -> Outcome[T]:
    try:
        return entry, read(entry)
    except Exception as error:  # noqa: BLE001 - one bad clip must not stop the others
        return entry, error


def batches_of_like_length(clips: Iterable[LoadedClip], size: int) -> Iterator[list[LoadedClip]]:
    """Group clips whose durations are equal within a quarter of a second.

    Args:
        clips: The clips.
        size: Clips per batch at most.
    """
    waiting: dict[int, list[LoadedClip]] = {}
    for clip in clips:
        length = int(4 * clip.duration_s + 1e-6)
        waiting.setdefault(length, []).append(clip)
        if len(waiting[length]) == size:
            yield waiting.pop(length)
        elif sum(map(len, waiting.values())) > BATCHES_WAITING * size:
            yield waiting.pop(max(waiting, key=lambda key: len(waiting[key])))
    yield from waiting.values()
