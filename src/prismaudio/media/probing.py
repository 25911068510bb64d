"""What a video file holds, found by reading its packets without decoding them."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from mimetypes import guess_type
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

import av

from prismaudio.errors import MediaError
from prismaudio.media.files import reason

if TYPE_CHECKING:
    from collections.abc import Iterator

    from av.container import InputContainer
    from av.video.stream import VideoStream

MIN_DURATION_S = 0.2
"""Shorter videos are refused."""

_TEXT_FORMATS = {"tty", "concat", "hls", "dash", "sdp", "lavfi"}  # these read text, or other files than the one given
_FORMATS_THAT_STATE_THEIR_DURATION = ("mp4", "matroska", "avi")


@dataclass(frozen=True)
class VideoInfo:
    """What is known of a video before its pictures are decoded.

    Args:
        path: The file.
        duration_s: From the first picture to the end of the last one.
        n_frames: Number of pictures.
        frame_s: The usual time between two pictures.
        last_s: How long the last picture is shown.
        start_s: Presentation time of the first picture on the file's own clock.
        width: Stored width in pixels, before rotation.
        height: Stored height in pixels, before rotation.
        codec: Name of the picture's codec.
        has_sound: Whether there is a sound track.
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
    has_sound: bool


@contextmanager
def opened(path: str | Path) -> Iterator[InputContainer]:
    """Open a media file for reading; whatever is wrong with it becomes a one-line error.

    Raises:
        MediaError: There is no such file, or it holds neither picture nor sound that can be read.
    """
    file = Path(path).expanduser()
    expected = "sound" if (guess_type(file.name)[0] or "").startswith("audio/") else "video"
    if not file.exists():
        raise MediaError(f"no such file: {file}")
    if file.is_dir():
        raise MediaError(f"{file} is a folder; expected a {expected} file")
    try:
        if file.is_file() and file.stat().st_size == 0:
            raise MediaError(f"{file} is empty (0 bytes); expected a {expected} file")
        with av.open(str(file.absolute()), metadata_errors="replace") as container:
            if container.format.name in _TEXT_FORMATS:
                raise MediaError(f"{file} is a text file; expected a {expected} file")
            yield container
    except (av.error.FFmpegError, OSError, ValueError) as error:
        raise MediaError(f"cannot read {file}: {reason(error)}; is it a whole {expected} file?") from error


def video_stream(container: InputContainer, path: str | Path) -> VideoStream:
    """The picture track of a file.

    Raises:
        MediaError: There is none, or it has no size.
    """
    streams = [s for s in container.streams.video if "ATTACHED_PIC" not in str(s.disposition).upper()]
    if not streams:
        raise MediaError(f"{path} has no picture track; expected a video")
    best = container.streams.best("video")
    stream = best if best in streams else streams[0]
    if stream.codec_context is None:
        raise MediaError(f"the picture of {path} is in a codec that this build of PyAV cannot decode")
    if not stream.codec_context.width or not stream.codec_context.height:
        raise MediaError(f"the picture of {path} is 0x0 pixels; expected a video with a picture")
    stream.thread_type = "AUTO"
    return stream


def probe(path: str | Path) -> VideoInfo:
    """Find out what a video file holds; reads all of it, decodes nothing.

    Args:
        path: The video file.

    Returns:
        Its exact duration and other facts.

    Raises:
        MediaError: It is not a video with at least two pictures and 0.2 s, or it ends too early.
    """
    with opened(path) as container:
        stream = video_stream(container, path)
        times, last_s, end_s = _packet_times(container, stream)
        stated_s = (container.duration or 0) / av.time_base + (container.start_time or 0) / av.time_base
        states = any(name in container.format.name for name in _FORMATS_THAT_STATE_THEIR_DURATION)
        if not times:
            raise MediaError(f"{path} holds no pictures; expected a video")
        if states and end_s < 0.95 * stated_s - 0.2:
            raise MediaError(f"{path} ends after {end_s:.2f} s of {stated_s:.2f} s: it is truncated; copy it again")
        if len(times) == 1:
            raise MediaError(f"{path} holds a single picture; expected a video of at least {MIN_DURATION_S} s")
        times.sort()
        frame_s = median(b - a for a, b in pairwise(times)) or 1 / 25
        last_s = last_s or frame_s
        duration_s = times[-1] - times[0] + last_s
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
            has_sound=bool(container.streams.audio),
        )


def _packet_times(container: InputContainer, stream: VideoStream) -> tuple[list[float], float, float]:
    """Times of the pictures in seconds, how long the last one is shown (0: unknown), and where any stream ends."""
    times: list[float] = []
    last_s, end_s = 0.0, 0.0
    rate_hz = float(stream.average_rate or stream.base_rate or 25)  # of files without time stamps
    for packet in container.demux():
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
