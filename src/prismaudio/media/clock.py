"""The clock of a file: where its time stamps begin anew, and packets whose time goes on.

The parts of a recording that are joined end to end (transport streams, and Matroska), or that a recorder wrote after it
had lost its connection, each have a clock of their own. Here each part follows the one before it, as players show it.
"""

from __future__ import annotations

from bisect import bisect_right
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from prismaudio.media.opening import opened, video_streams

if TYPE_CHECKING:
    from collections.abc import Iterator

    from av.container import InputContainer
    from av.packet import Packet
    from av.stream import Stream
    from numpy.typing import NDArray

STEP_BACK_S = 0.1
"""A decoding time that is earlier than the one before it by more than this belongs to another clock."""
STEP_AHEAD_S = 10.0
"""So does one that is later by more than this than all that came before it, where clocks may jump."""

_CLOCKS_JUMP = {"mpegts", "mpeg", "ogg"}
_CLOCKS_BEGIN_ANEW = {*_CLOCKS_JUMP, "matroska,webm", "flv"}  # other formats number their samples
_ROW = np.dtype([("position", "i8"), ("stream", "i4"), ("picture", "?"), ("dts", "f8"), ("begin", "f8"), ("end", "f8")])


class Clock(NamedTuple):
    """By how much the packets of a file are moved.

    Args:
        positions: Bytes at which parts with another clock begin, in order.
        shifts_s: What is added to the time stamps from there on.
    """

    positions: tuple[int, ...] = ()
    shifts_s: tuple[float, ...] = ()

    def shift_s(self, position: int) -> float:
        """What is added to the time stamps of a packet at a byte of the file.

        Example:
            >>> clock = Clock((500, 900), (2.0, 5.0))
            >>> clock.shift_s(0), clock.shift_s(500), clock.shift_s(899), clock.shift_s(10_000)
            (0.0, 2.0, 2.0, 5.0)
        """
        part = bisect_right(self.positions, position)
        return self.shifts_s[part - 1] if part else 0.0


def packets(container: InputContainer, stream: Stream | None = None) -> Iterator[Packet[Stream]]:
    """Packets of a file in the order in which they are stored, with time stamps that go on where its clock begins anew.

    Args:
        container: The file.
        stream: The only stream that is wanted; None for all.
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
    """Packets as they are stored; where stamps may be damaged on the air, they are shown when they are decoded."""
    jumps = container.format.name in _CLOCKS_JUMP
    for packet in container.demux() if stream is None else container.demux(stream):
        pts, dts, base = packet.pts, packet.dts, packet.time_base
        if jumps and pts is not None and dts is not None and base is not None and abs(pts - dts) * base > STEP_AHEAD_S:
            packet.pts = dts
        yield packet


def clock_of(container: InputContainer) -> Clock:
    """The clock of an open file; reads the file once more, where its format lets a clock begin anew."""
    if container.format.name not in _CLOCKS_BEGIN_ANEW:
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
    begins = _beginnings(rows, jumps_ahead=jumps_ahead)
    if not begins:
        return Clock()
    parts = np.split(rows, begins)
    return Clock(tuple(int(part["position"][0]) for part in parts[1:]), tuple(_shifts_s(parts)[1:]))


def _rows(container: InputContainer, tracks: set[int], frames: set[int]) -> Iterator[tuple[object, ...]]:
    """Where each packet is stored, whose it is, and its times in seconds."""
    usual_s = {s.index: float(1 / s.average_rate) for s in video_streams(container) if s.average_rate}
    for packet in _demuxed(container, None):
        begin = packet.pts if packet.pts is not None else packet.dts
        index = packet.stream_index
        if index not in tracks or not packet.size or packet.pos is None or begin is None or packet.time_base is None:
            continue
        base = float(packet.time_base)
        length_s = packet.duration * base if packet.duration else usual_s.get(index, 0.0)
        dts = packet.dts * base if packet.dts is not None else np.nan
        yield packet.pos, index, index in frames, dts, begin * base, begin * base + length_s


def _beginnings(rows: NDArray[np.void], *, jumps_ahead: bool) -> list[int]:
    """Indices of packets with which a clock begins anew."""
    latest: dict[int, float] = {}  # decoding time of each stream, by this clock
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


def _shifts_s(parts: list[NDArray[np.void]]) -> list[float]:
    """What is added to the times of each part, so that its frames, or else its sound, follow those before it."""
    shifts = [0.0]
    ends = {True: -np.inf, False: -np.inf}  # of frames and of sound
    for index, part in enumerate(parts):
        frames = bool(part["picture"].any() and np.isfinite(ends[True]))
        begin = part["begin"][part["picture"]].min() if frames else part["begin"].min()
        end = ends[True] if frames else max(ends.values())
        if index:
            again = (shift for shift in reversed(shifts) if abs(begin + shift - end) < 1)  # after a damaged stamp
            shifts.append(float(next(again, end - begin)))
        for kind in (True, False):
            of_kind = part["end"][part["picture"] == kind]
            if len(of_kind):
                ends[kind] = max(ends[kind], of_kind.max() + shifts[-1])
    return shifts
