"""Time-stamp discontinuities: detects where the time stamps of a file restart, and makes them continuous.

Recordings that were joined end to end (transport streams, Matroska), or continued after a lost connection, consist of
segments with separate clocks. Each segment is shifted to follow the previous one, as players do.
"""

from __future__ import annotations

from bisect import bisect_right
from concurrent.futures import CancelledError
from contextlib import contextmanager
from contextvars import ContextVar
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from prismaudio.media.opening import opened, video_streams

if TYPE_CHECKING:
    from collections.abc import Iterator
    from threading import Event

    from av.container import InputContainer
    from av.packet import Packet
    from av.stream import Stream
    from numpy.typing import NDArray

STEP_BACK_S = 0.1
"""A decoding time that is earlier than the previous one by more than this starts a new clock."""
STEP_AHEAD_S = 10.0
"""So does one that is later than all previous ones by more than this, in formats whose clocks may jump ahead."""

_CLOCKS_JUMP = {"mpegts", "mpeg", "ogg"}
_CLOCKS_RESTART = {*_CLOCKS_JUMP, "matroska,webm", "flv"}  # other formats number their samples
_ROW = np.dtype(
    [("position", "i8"), ("stream", "i4"), ("is_video", "?"), ("dts", "f8"), ("begin", "f8"), ("end", "f8")]
)


_CANCELLED: ContextVar[Event | None] = ContextVar("cancelled", default=None)


@contextmanager
def cancelled_by(event: Event) -> Iterator[None]:
    """Media that is read or copied in this context ends at its next packet once ``event`` is set.

    It ends with :class:`concurrent.futures.CancelledError`; files that were being written are removed.
    """
    token = _CANCELLED.set(event)
    try:
        yield
    finally:
        _CANCELLED.reset(token)


class Clock(NamedTuple):
    """Time-stamp offsets of the segments of a file.

    Args:
        positions: Byte positions at which segments with another clock begin, in order.
        shifts_s: Offset in seconds added to the time stamps from each position on.
    """

    positions: tuple[int, ...] = ()
    shifts_s: tuple[float, ...] = ()

    def shift_s(self, position: int) -> float:
        """Return the offset added to the time stamps of a packet at a byte position.

        Example:
            >>> clock = Clock((500, 900), (2.0, 5.0))
            >>> clock.shift_s(0), clock.shift_s(500), clock.shift_s(899), clock.shift_s(10_000)
            (0.0, 2.0, 2.0, 5.0)
        """
        segment = bisect_right(self.positions, position)
        return self.shifts_s[segment - 1] if segment else 0.0


def packets(container: InputContainer, stream: Stream | None = None) -> Iterator[Packet[Stream]]:
    """Iterate over the packets of a file in storage order, with continuous time stamps.

    Args:
        container: The file.
        stream: The stream to read; None for all.
    """
    clock = clock_of(container)
    position = 0
    for packet in _demuxed(container, stream):
        if clock.positions and packet.time_base is not None:
            position = packet.pos if packet.pos is not None else position
            shift = round(clock.shift_s(position) / packet.time_base)
            packet.pts = packet.pts + shift if packet.pts is not None else None
            packet.dts = packet.dts + shift if packet.dts is not None else None
        yield packet


def _demuxed(container: InputContainer, stream: Stream | None) -> Iterator[Packet[Stream]]:
    """Iterate over packets in storage order; in broadcast formats, implausible presentation times are replaced."""
    jumps, cancelled = container.format.name in _CLOCKS_JUMP, _CANCELLED.get()
    for packet in container.demux() if stream is None else container.demux(stream):
        if cancelled is not None and cancelled.is_set():
            raise CancelledError
        pts, dts, base = packet.pts, packet.dts, packet.time_base
        if jumps and pts is not None and dts is not None and base is not None and abs(pts - dts) * base > STEP_AHEAD_S:
            packet.pts = dts
        yield packet


def clock_of(container: InputContainer) -> Clock:
    """Return the clock of an open file; this reads the file once more if time stamps may restart in its format."""
    if container.format.name not in _CLOCKS_RESTART:
        return Clock()
    path = Path(container.name)
    stat = path.stat()
    return _clock(path, stat.st_ino, stat.st_mtime_ns, stat.st_size)


@lru_cache(maxsize=16)
def _clock(path: Path, _node: int, _changed: int, _size: int) -> Clock:
    with opened(path) as container:
        frames = {stream.index for stream in video_streams(container)}
        tracks = frames | {stream.index for stream in container.streams.audio}
        rows = np.fromiter(_rows(container, tracks, frames), _ROW)
        jumps_ahead = container.format.name in _CLOCKS_JUMP
    rows = rows[np.argsort(rows["position"], kind="stable")]
    starts = _restarts(rows, jumps_ahead=jumps_ahead)
    if not starts:
        return Clock()
    segments = np.split(rows, starts)
    positions = tuple(int(segment["position"][0]) for segment in segments[1:])
    return Clock(positions, tuple(_shifts_s(segments)[1:]))


def _rows(container: InputContainer, tracks: set[int], frames: set[int]) -> Iterator[tuple[object, ...]]:
    """Yield position, stream, type and times in seconds of each packet."""
    default_s = {s.index: float(1 / s.average_rate) for s in video_streams(container) if s.average_rate}
    for packet in _demuxed(container, None):
        begin = packet.pts if packet.pts is not None else packet.dts
        index = packet.stream_index
        if index not in tracks or not packet.size or packet.pos is None or begin is None or packet.time_base is None:
            continue
        base = float(packet.time_base)
        length_s = packet.duration * base if packet.duration else default_s.get(index, 0.0)
        dts = packet.dts * base if packet.dts is not None else np.nan
        yield packet.pos, index, index in frames, dts, begin * base, begin * base + length_s


def _restarts(rows: NDArray[np.void], *, jumps_ahead: bool) -> list[int]:
    """Return the indices of the packets at which a new clock starts."""
    latest: dict[int, float] = {}  # decoding time of each stream on the current clock
    found = []
    for index, (stream, dts) in enumerate(zip(rows["stream"], rows["dts"], strict=True)):
        if np.isnan(dts):
            continue
        if latest:
            earliest = latest[stream] - STEP_BACK_S if stream in latest else min(latest.values()) - STEP_AHEAD_S
            if dts < earliest or (jumps_ahead and dts > max(latest.values()) + STEP_AHEAD_S):
                found.append(index)
                latest.clear()
        latest[stream] = dts
    return found


def _shifts_s(segments: list[NDArray[np.void]]) -> list[float]:
    """Compute the offset of each segment so that its video, or else its audio, follows the previous segments."""
    shifts = [0.0]
    ends = {True: -np.inf, False: -np.inf}  # of video and of audio
    for index, segment in enumerate(segments):
        by_video = bool(segment["is_video"].any() and np.isfinite(ends[True]))
        begin = segment["begin"][segment["is_video"]].min() if by_video else segment["begin"].min()
        end = ends[True] if by_video else max(ends.values())
        if index:
            again = (shift for shift in reversed(shifts) if abs(begin + shift - end) < 1)  # after a damaged stamp
            shifts.append(float(next(again, end - begin)))
        for is_video in (True, False):
            ends_s = segment["end"][segment["is_video"] == is_video]
            if len(ends_s):
                ends[is_video] = max(ends[is_video], ends_s.max() + shifts[-1])
    return shifts
