"""Decoded sound in its place in time: holes and overlaps of its time stamps, as opposed to their jitter."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    import av

TOLERANCE_S = 0.015
"""Sound goes on where its time stamps differ by no more than this from the samples that are counted: containers round
them to milliseconds, and those of recorders shake."""
CONFIRMED_S = 0.2
"""A greater difference is a hole or an overlap when it lasts as long as this, so that a single wrong stamp is none; or,
near the end of the sound, when it is greater than this."""
LONGEST_OVERLAP_S, LONGEST_HOLE_S = 1.0, 3600.0
"""Longer ones are damaged time stamps, and the sound goes on."""


class Placed(NamedTuple):
    """A frame of sound in its place.

    Args:
        time_s: When it begins, on the file's own clock.
        follows: Whether it begins where the frame before it ended.
        frame: The sound.
    """

    time_s: float
    follows: bool
    frame: av.AudioFrame


class _Counted(NamedTuple):
    """A frame of sound, when it would begin and end without holes, and how much later its stamp is."""

    time_s: float
    end_s: float
    late_s: float
    frame: av.AudioFrame


def placed(frames: Iterable[av.AudioFrame]) -> Iterator[Placed]:
    """Frames of sound in their places, which are exact to the sample where no hole is.

    Args:
        frames: Decoded frames of one stream, in order.
    """
    late_s = moved_s = 0.0
    for ahead in _looking_ahead(_counted(frames)):
        confirmed = ahead[-1].end_s - ahead[0].end_s >= CONFIRMED_S
        step_s = _step_s([counted.late_s - late_s for counted in ahead], TOLERANCE_S if confirmed else CONFIRMED_S)
        late_s += step_s
        hole_s = step_s if -LONGEST_OVERLAP_S <= step_s <= LONGEST_HOLE_S else 0.0
        moved_s += hole_s
        yield Placed(ahead[0].time_s + moved_s, not hole_s, ahead[0].frame)


def _counted(frames: Iterable[av.AudioFrame]) -> Iterator[_Counted]:
    time_s: float | None = None
    late_s = 0.0
    for frame in frames:
        if time_s is None:
            time_s = frame.time or 0.0
        late_s = frame.time - time_s if frame.time is not None else late_s
        end_s = time_s + frame.samples / frame.sample_rate
        yield _Counted(time_s, end_s, late_s, frame)
        time_s = end_s


def _looking_ahead(frames: Iterable[_Counted]) -> Iterator[deque[_Counted]]:
    """Each frame and those of the time after it in which a hole is confirmed."""
    ahead: deque[_Counted] = deque()
    for frame in frames:
        ahead.append(frame)
        while frame.end_s - ahead[0].end_s >= CONFIRMED_S:
            yield ahead
            ahead.popleft()
    while ahead:
        yield ahead
        ahead.popleft()


def _step_s(late_s: list[float], tolerance_s: float) -> float:
    """The hole before the first of some frames, by how late they are; negative for an overlap.

    Example:
        >>> _step_s([0.5, 0.501, 0.5], 0.1), _step_s([0.5, 0.0, 0.0], 0.1), _step_s([-0.2, -0.2, -0.3], 0.1)
        (0.5, 0.0, -0.2)
    """
    if min(late_s) > tolerance_s:
        return min(late_s)
    return max(late_s) if max(late_s) < -tolerance_s else 0.0
