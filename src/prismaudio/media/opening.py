"""Opening media files and selecting their video and audio tracks."""

from __future__ import annotations

import re
from contextlib import contextmanager
from mimetypes import guess_type
from pathlib import Path
from threading import Lock
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

_LOGGING = Lock()
"""Held while the level of FFmpeg's log is another one, which is that of all threads."""
_TEXT_FORMATS = {"tty", "concat", "hls", "dash", "sdp", "lavfi"}  # formats that read text or other files


@contextmanager
def opened(path: str | Path) -> Iterator[InputContainer]:
    """Open a media file for reading; all failures are raised as one-line errors.

    Raises:
        MediaError: The file does not exist or cannot be read as a media file.
    """
    file = expanded(path)
    expected = "audio" if (guess_type(file.name)[0] or "").startswith("audio/") else "video"
    if not file.exists():
        raise MediaError(f"no such file: {file}")
    if file.is_dir():
        raise MediaError(f"{file} is a folder; expected {_with_article(expected)} file")
    if not file.is_file():
        raise MediaError(f"{file} is a pipe or a device, but media is read more than once; save it as a file first")
    try:
        if file.stat().st_size == 0:
            raise MediaError(f"{file} is empty (0 bytes); expected {_with_article(expected)} file")
        with av.open(str(file.absolute()), metadata_errors="replace") as container:
            if container.format.name in _TEXT_FORMATS:
                raise MediaError(f"{file} is a text file; expected {_with_article(expected)} file")
            yield container
    except (av.error.FFmpegError, OSError, ValueError, ArithmeticError) as error:
        name = str(getattr(error, "filename", ""))  # a file, or a function of FFmpeg
        if Path(name).is_absolute() and name != str(file.absolute()):
            raise  # concerns another file, which is written while this one is read
        why = "it states an impossible size" if isinstance(error, MemoryError) else reason(error)
        raise MediaError(f"cannot read {file}: {why}; is it a complete {expected} file?") from error


def _with_article(expected: str) -> str:
    return f"an {expected}" if expected == "audio" else f"a {expected}"


def video_streams(container: InputContainer) -> list[VideoStream]:
    """Return the video tracks of a file, without cover images."""
    return [stream for stream in container.streams.video if not stream.disposition & Disposition.attached_pic]


def video_stream(container: InputContainer, path: str | Path) -> VideoStream:
    """Return the video track of a file.

    Raises:
        MediaError: There is no video track, it cannot be decoded, or its frames have no size.
    """
    streams = video_streams(container)
    if not streams:
        raise MediaError(f"{path} has no video track; expected a video")
    best = container.streams.best("video")
    stream = best if best in streams else streams[0]
    if stream.codec_context is None:
        raise MediaError(f"the video of {path} is in {_codec(container, stream)}")
    if not stream.codec_context.width or not stream.codec_context.height:
        if stream.codec_context.name == "webp":
            raise MediaError(f"{path} is an animated WebP, which this build of PyAV cannot decode; convert it to mp4")
        raise MediaError(f"the frames of {path} have 0x0 pixels; expected a video with frames")
    stream.thread_type = "AUTO"
    return stream


def audio_stream(container: InputContainer, path: str | Path) -> AudioStream:
    """Return the audio track of a file; the file must have one.

    Raises:
        MediaError: No audio track can be decoded.
    """
    streams = [stream for stream in container.streams.audio if stream.codec_context is not None]
    if not streams:
        raise MediaError(f"the audio of {path} is in {_codec(container, container.streams.audio[0])}")
    best = container.streams.best("audio")
    return best if best in streams else streams[0]


def _codec(container: Any, stream: Stream) -> str:
    """Describe a codec without a decoder; PyAV provides its name only in FFmpeg's description of the file."""
    with _LOGGING:
        level = logging.get_level()
        logging.set_level(logging.INFO)
        try:
            described: str = container.dumps_format()
        finally:
            logging.set_level(level)
    found = re.search(rf"Stream #0:{stream.index}\b.*?: (?:Audio|Video): (\w+)(?: .*?\((.+?) / 0x)?", described)
    name = next((name for name in found.groups() if name and name != "none"), "unknown") if found else "unknown"
    return f"the codec {name}, which this build of PyAV cannot decode; convert it to another one"
