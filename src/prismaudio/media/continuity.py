"""Placement of decoded audio in time: separates gaps and overlaps from jitter of the time stamps."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    import av

TOLERANCE_S = 0.015
"""Maximum jitter: audio is continuous if its time stamps differ by no more than this from the sample count, because
containers round time stamps to milliseconds and those of recorders vary."""
CONFIRMED_S = 0.2
"""A larger difference is a gap or an overlap if it persists for this long, so that a single wrong stamp has no effect;
near the end of the audio, if it exceeds this value."""
MAX_OVERLAP_S, MAX_GAP_S = 1.0, 3600.0
"""Longer ones are damaged time stamps; the audio is then treated as continuous."""


class Placed(NamedTuple):
    """An audio frame and its position in time.

    Args:
        time_s: Start time on the file's own clock.
        follows: Whether it begins where the previous frame ended.
        frame: The audio frame.
    """

    time_s: float
    follows: bool
    frame: av.AudioFrame


class _Counted(NamedTuple):
    """An audio frame, its start and end by sample count, and the offset of its time stamp from that."""

    time_s: float
    end_s: float
    late_s: float
    frame: av.AudioFrame


def placed(frames: Iterable[av.AudioFrame]) -> Iterator[Placed]:
    """Place audio frames in time; the placement is sample-exact between gaps.

    Args:
        frames: Decoded frames of one stream, in order.
    """
    late_s = moved_s = 0.0
    for ahead in _looking_ahead(_counted(frames)):
        confirmed = ahead[-1].end_s - ahead[0].end_s >= CONFIRMED_S
        step_s = _step_s([counted.late_s - late_s for counted in ahead], TOLERANCE_S if confirmed else CONFIRMED_S)
        late_s += step_s
        gap_s = step_s if -MAX_OVERLAP_S <= step_s <= MAX_GAP_S else 0.0
        moved_s += gap_s
        yield Placed(ahead[0].time_s + moved_s, not gap_s, ahead[0].frame)


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
    """Yield each frame together with the following frames that confirm a gap."""
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
    """Return the gap before the first of several frames from their time-stamp offsets; negative for an overlap.

    Example:
        >>> _step_s([0.5, 0.501, 0.5], 0.1), _step_s([0.5, 0.0, 0.0], 0.1), _step_s([-0.2, -0.2, -0.3], 0.1)
        (0.5, 0.0, -0.2)
    """
    if min(late_s) > tolerance_s:
        return min(late_s)
    return max(late_s) if max(late_s) < -tolerance_s else 0.0
