"""Opening media files: what can be opened, and which of its tracks are the frame and the sound."""

from __future__ import annotations

import re
from contextlib import contextmanager
from mimetypes import guess_type
from pathlib import Path
from typing import TYPE_CHECKING, Any

import av
from av import logging
from av.stream import Disposition

from prismaudio.errors import MediaError, reason
from prismaudio.paths import expanded

if TYPE_CHECKING:
    from collections.abc import Iterator

    from av.audio.stream import AudioStream
    from av.container import InputContainer
    from av.stream import Stream
    from av.video.stream import VideoStream

_TEXT_FORMATS = {"tty", "concat", "hls", "dash", "sdp", "lavfi"}  # these read text, or other files than the one given


@contextmanager
def opened(path: str | Path) -> Iterator[InputContainer]:
    """Open a media file for reading; whatever is wrong with it becomes a one-line error.

    Raises:
        MediaError: There is no such file, or it holds neither frame nor sound that can be read.
    """
    file = expanded(path)
    expected = "sound" if (guess_type(file.name)[0] or "").startswith("audio/") else "video"
    if not file.exists():
        raise MediaError(f"no such file: {file}")
    if file.is_dir():
        raise MediaError(f"{file} is a folder; expected a {expected} file")
    if not file.is_file():
        raise MediaError(f"{file} is a pipe or a device, and media is read more than once; save it as a file first")
    try:
        if file.stat().st_size == 0:
            raise MediaError(f"{file} is empty (0 bytes); expected a {expected} file")
        with av.open(str(file.absolute()), metadata_errors="replace") as container:
            if container.format.name in _TEXT_FORMATS:
                raise MediaError(f"{file} is a text file; expected a {expected} file")
            yield container
    except (av.error.FFmpegError, OSError, ValueError, ArithmeticError) as error:
        named = str(getattr(error, "filename", ""))  # a file, or a function of FFmpeg
        if Path(named).is_absolute() and named != str(file.absolute()):
            raise  # of another file, which is written while this one is read
        why = "a size in it cannot be" if isinstance(error, MemoryError) else reason(error)
        raise MediaError(f"cannot read {file}: {why}; is it a whole {expected} file?") from error


def video_streams(container: InputContainer) -> list[VideoStream]:
    """The video tracks of a file, a picture on the cover not counted."""
    return [stream for stream in container.streams.video if not stream.disposition & Disposition.attached_pic]


def video_stream(container: InputContainer, path: str | Path) -> VideoStream:
    """The video track of a file.

    Raises:
        MediaError: There is none, it cannot be decoded, or it has no size.
    """
    streams = video_streams(container)
    if not streams:
        raise MediaError(f"{path} has no video track; expected a video")
    best = container.streams.best("video")
    stream = best if best in streams else streams[0]
    if stream.codec_context is None:
        raise MediaError(f"the frame of {path} is in {_codec(container, stream)}")
    if not stream.codec_context.width or not stream.codec_context.height:
        if stream.codec_context.name == "webp":
            raise MediaError(f"{path} is an animated WebP, which this build of PyAV cannot decode; convert it to mp4")
        raise MediaError(f"the frame of {path} is 0x0 pixels; expected a video with a frame")
    stream.thread_type = "AUTO"
    return stream


def audio_stream(container: InputContainer, path: str | Path) -> AudioStream:
    """The audio track of a file that has one.

    Raises:
        MediaError: It has none that can be decoded.
    """
    streams = [stream for stream in container.streams.audio if stream.codec_context is not None]
    if not streams:
        raise MediaError(f"the sound of {path} is in {_codec(container, container.streams.audio[0])}")
    best = container.streams.best("audio")
    return best if best in streams else streams[0]


def _codec(container: Any, stream: Stream) -> str:
    """What is said of a codec without a decoder; PyAV has its name in FFmpeg's description of the file alone."""
    level = logging.get_level()
    logging.set_level(logging.INFO)
    try:
        described: str = container.dumps_format()
    finally:
        logging.set_level(level)
    found = re.search(rf"Stream #0:{stream.index}\b.*?: (?:Audio|Video): (\w+)(?: .*?\((.+?) / 0x)?", described)
    name = next((name for name in found.groups() if name and name != "none"), "unknown") if found else "unknown"
    return f"the codec {name}, which this build of PyAV cannot decode; convert it to another one"
