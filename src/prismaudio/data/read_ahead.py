"""Reading in threads while what was read is computed with, and batches of clips of like length."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from itertools import groupby, islice
from typing import TYPE_CHECKING, TypeVar

from prismaudio.media.threads import MediaThreads

if TYPE_CHECKING:
    from concurrent.futures import Future

    from prismaudio.data.extraction import LoadedClip
    from prismaudio.data.manifest import ManifestEntry

Entry = TypeVar("Entry")
T = TypeVar("T")

GROUP = 8
"""Clips of one file that a thread reads in sequence, so that the file is decoded once for them."""
BATCHES_WAITING = 4
"""Batches of clips that may wait for further clips of like length."""
Outcome = tuple[Entry, T | Exception]
"""What was read of an entry, or why it cannot be read."""


def read_ahead(
    groups: Iterable[Sequence[Entry]], read: Callable[[Entry], T], threads: MediaThreads, n_ahead: int
) -> Generator[Outcome[Entry, T], None, None]:
    """Read entries in threads, in their order.

    Args:
        groups: The entries; those of a group are read in sequence, by one thread.
        read: Reads one; an exception becomes part of the result.
        threads: The threads; without any, each entry is read when it is asked for.
        n_ahead: Entries at most that wait to be taken, which bounds the memory.
    """
    if not threads.count:
        yield from (_attempt(read, entry) for group in groups for entry in group)
        return
    waiting: deque[tuple[int, Future[list[Outcome[Entry, T]]]]] = deque()
    n_waiting = 0
    try:
        for group in groups:
            while waiting and n_waiting + len(group) > n_ahead:
                n_entries, done = waiting.popleft()
                n_waiting -= n_entries
                yield from done.result()
            waiting.append((len(group), threads.submit(_attempt_all, read, group)))
            n_waiting += len(group)
        while waiting:
            yield from waiting.popleft()[1].result()
    finally:
        for _, unread in waiting:
            unread.cancel()


def of_one_file(entries: Iterable[ManifestEntry]) -> Iterator[tuple[ManifestEntry, ...]]:
    """Group consecutive clips of one file, at most :data:`GROUP` of them."""
    for _, group in groupby(entries, lambda entry: (entry.video, entry.audio)):
        while some := tuple(islice(group, GROUP)):
            yield some


def _attempt_all(read: Callable[[Entry], T], entries: Iterable[Entry]) -> list[Outcome[Entry, T]]:
    return [_attempt(read, entry) for entry in entries]


def _attempt(read: Callable[[Entry], T], entry: Entry) -> Outcome[Entry, T]:
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
