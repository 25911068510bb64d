"""What a video file holds, found by reading its packets without decoding them."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

import av

from prismaudio.errors import MediaError
from prismaudio.media.clock import packets
from prismaudio.media.continuity import LONGEST_HOLE_S
from prismaudio.media.opening import opened, video_stream

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.video.stream import VideoStream

MIN_DURATION_S = 0.2
"""Shorter videos are refused."""

_MAX_S_PER_FRAME = 60.0
_MAX_STRETCH = 16  # pixels of anamorphic frames are 2 times as wide as high, or half as wide
_FORMATS_THAT_STATE_THEIR_DURATION = ("mp4", "matroska", "avi")


@dataclass(frozen=True)
class VideoInfo:
    """What is known of a video before its frames are decoded.

    Args:
        path: The file.
        duration_s: From the first frame to the end of the last one.
        n_frames: Number of frames.
        frame_s: The usual time between two frames.
        last_s: How long the last frame is shown.
        start_s: Presentation time of the first frame on the file's own clock.
        width: Stored width in pixels, before rotation.
        height: Stored height in pixels, before rotation.
        codec: Name of the frame's codec.
        has_audio: Whether there is a audio track.
        pixel_aspect: Width of a stored pixel as it is shown, by its height.
    """

    path: Path
    duration_s: float
    n_frames: int
    frame_s: float
    last_s: float
    start_s: float
    width: int
    height: int
    codec: str
    has_audio: bool
    pixel_aspect: Fraction = Fraction(1)


def probe(path: str | Path) -> VideoInfo:
    """Find out what a video file holds; reads all of it, decodes nothing.

    Args:
        path: The video file.

    Returns:
        Its exact duration and other facts.

    Raises:
        MediaError: It is not a video with at least two frames and 0.2 s, or it ends too early.
    """
    with opened(path) as container:
        stream = video_stream(container, path)
        times, last_s, end_s = _packet_times(container, stream)
        stated_s, begin_s = (container.duration or 0) / av.time_base, (container.start_time or 0) / av.time_base
        states = any(name in container.format.name for name in _FORMATS_THAT_STATE_THEIR_DURATION)
        if not times:
            raise MediaError(f"{path} holds no frames; expected a video")
        if states and not _is_whole(end_s - begin_s, stated_s, begin_s):
            found = f"{end_s - begin_s:.2f} s of {stated_s:.2f} s"
            raise MediaError(f"{path} ends after {found}: it is truncated; copy it again")
        if len(times) == 1:
            raise MediaError(f"{path} holds a single frame; expected a video of at least {MIN_DURATION_S} s")
        times.sort()
        frame_s = median(b - a for a, b in pairwise(times)) or 1 / 25
        last_s = last_s or frame_s
        duration_s = times[-1] - times[0] + last_s
        if duration_s > LONGEST_HOLE_S + _MAX_S_PER_FRAME * len(times):
            raise MediaError(
                f"{path} shows {len(times)} frames in {duration_s / 3600:.1f} hours: its time stamps are damaged; "
                "convert the file anew"
            )
        if duration_s < MIN_DURATION_S:
            raise MediaError(f"{path} lasts {duration_s:.3f} s; expected at least {MIN_DURATION_S} s")
        context = stream.codec_context
        return VideoInfo(
            path=Path(path),
            duration_s=duration_s,
            n_frames=len(times),
            frame_s=frame_s,
            last_s=last_s,
            start_s=times[0],
            width=context.width,
            height=context.height,
            codec=context.name,
            has_audio=bool(container.streams.audio),
            pixel_aspect=_pixel_aspect(stream),
        )


def _pixel_aspect(stream: VideoStream) -> Fraction:
    """Width of a stored pixel as it is shown, by its height; 1 where a file states none that can be."""
    stated = stream.sample_aspect_ratio
    return stated if stated and 1 / _MAX_STRETCH <= stated <= _MAX_STRETCH else Fraction(1)


def _is_whole(length_s: float, stated_s: float, begin_s: float) -> bool:
    """Whether a file lasts as long as it states, where some writers count from the beginning of the clock.

    Example:
        >>> _is_whole(10.0, 10.0, 60.0), _is_whole(10.0, 70.0, 60.0), _is_whole(5.0, 70.0, 60.0)
        (True, True, False)
    """
    from_zero_s = stated_s - begin_s
    counted_from_zero = from_zero_s > 0 and abs(length_s - from_zero_s) <= 0.05 * from_zero_s + 0.2
    return counted_from_zero or length_s >= 0.95 * stated_s - 0.2


def _packet_times(container: InputContainer, stream: VideoStream) -> tuple[list[float], float, float]:
    """Times of the frames in seconds, how long the last one is shown (0: unknown), and where any stream ends."""
    times: list[float] = []
    last_s, end_s = 0.0, 0.0
    rate_hz = float(stream.average_rate or stream.base_rate or 25)  # of files without time stamps
    for packet in packets(container):
        stamp = packet.pts if packet.pts is not None else packet.dts
        if packet.time_base is None or not packet.size:
            continue
        if stamp is None and packet.stream_index != stream.index:
            continue
        time_s = len(times) / rate_hz if stamp is None else float(stamp * packet.time_base)
        length_s = float((packet.duration or 0) * packet.time_base)
        end_s = max(end_s, time_s + length_s)
        if packet.stream_index == stream.index and not packet.is_discard:
            if not times or time_s >= max(times[-16:]):
                last_s = length_s
            times.append(time_s)
    return times, last_s, end_s
