"""Writing videos with a new audio track, rendered videos and audio files."""

from __future__ import annotations

import io
import wave
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

import av
import numpy as np
import soundfile

from prismaudio.errors import MediaError, reason
from prismaudio.media.clock import packets
from prismaudio.media.encoding import AUDIO_RATE_HZ, AudioTrack, add_video_stream, blocks
from prismaudio.media.files import replacing
from prismaudio.media.frames import FrameConverter, display_matrix
from prismaudio.media.opening import opened, video_stream
from prismaudio.media.probing import VideoInfo, probe
from prismaudio.media.reading import timed_frames

if TYPE_CHECKING:
    from collections.abc import Iterator

    from av.container import InputContainer, OutputContainer
    from av.video.stream import VideoStream
    from torch import Tensor

VIDEO_SUFFIXES = (".mp4", ".m4v", ".mov", ".mkv")
"""Supported suffixes of output videos."""

MAX_WAV_BYTES = 2**32 - 2**12
"""Maximum size of the audio data of a WAV file, limited by its header."""

_WAV_BYTES = 3
_KEPT_QUALITY, _RENDERED_QUALITY = 16, 10  # H.264 quality of re-encoded and of rendered frames
_ASPECT_TOLERANCE = 1e-3  # relative difference of pixel aspect ratios, which containers round
_PLAYED_CODECS, _PLAYED_FORMATS = {"h264", "vp9", "av1"}, {"yuv420p", "yuvj420p"}
_STALE_TAGS = {"major_brand", "minor_version", "compatible_brands", "encoder", "duration"}


def write_video_with_audio(
    source: str | Path, audio: Tensor, sample_rate_hz: int, out: str | Path, *, for_browsers: bool = False
) -> None:
    """Write a copy of a video in which a new audio track replaces the old ones.

    The video stream is copied without re-encoding, with its rotation and metadata; it is re-encoded only if the
    container of ``out`` cannot hold it. The track is stereo AAC with exactly the duration of the video.

    Args:
        source: The video.
        audio: Audio ``(2, samples)`` in -1 .. 1; time 0 is the first frame. Cropped or padded with silence.
        sample_rate_hz: Its sample rate.
        out: File to write; its suffix selects the container.
        for_browsers: Re-encode what not every browser plays, too: other codecs than H.264, VP9 and AV1, and other
            pixel formats than 8-bit 4:2:0.

    Raises:
        MediaError: The source cannot be read or the file cannot be written.
    """
    info = probe(source)
    with replacing(out) as part:
        try:
            with _sink(part, out) as output, opened(source) as container:
                _copy_video(container, output, info, audio, sample_rate_hz, for_browsers)
            is_copied = _same_video(info, probe(part))
        except (MediaError, ValueError):  # the container cannot hold these packets, or they are not to be copied
            is_copied = False
        if not is_copied:
            with _sink(part, out) as output, opened(source) as container:
                _encode_video(container, output, info, audio, sample_rate_hz)


def write_video(
    frames: Tensor, fps: float, out: str | Path, audio: Tensor | None = None, sample_rate_hz: int = 16_000
) -> None:
    """Write rendered frames as a video, with or without audio.

    Args:
        frames: Frames uint8 ``(time, 3, height, width)``; odd sizes are padded by one pixel with the edge values.
        fps: Frames per second.
        out: File to write; its suffix selects the container.
        audio: Audio ``(2, samples)`` in -1 .. 1, or None for a silent video.
        sample_rate_hz: Its sample rate.

    Raises:
        MediaError: The file cannot be written.
    """
    arrays = np.ascontiguousarray(frames.detach().cpu().permute(0, 2, 3, 1).numpy())
    height, width = arrays.shape[1:3]
    arrays = np.pad(arrays, ((0, 0), (0, height % 2), (0, width % 2), (0, 0)), mode="edge")
    rate = Fraction(fps).limit_denominator(1001)
    convert = FrameConverter()
    first = convert(av.VideoFrame.from_ndarray(arrays[0], "rgb24"))
    with replacing(out) as part, _sink(part, out) as output:
        stream = add_video_stream(output, first, rate, 1 / rate, _RENDERED_QUALITY)
        track = None if audio is None else AudioTrack(output, audio, sample_rate_hz, len(frames) / float(rate))
        for index, array in enumerate(arrays):
            frame = convert(av.VideoFrame.from_ndarray(array, "rgb24"))
            frame.pts, frame.time_base = index, 1 / rate
            output.mux(stream.encode(frame))
            if track:
                track.mux_until(index / float(rate))
        output.mux(stream.encode(None))
        if track:
            track.finish()


def write_wav(audio: Tensor, sample_rate_hz: int, out: str | Path) -> None:
    """Write audio ``(2, samples)`` in -1 .. 1 as a 24-bit WAV file.

    Raises:
        MediaError: The file cannot be written.
    """
    if audio.shape[-1] * 2 * _WAV_BYTES >= MAX_WAV_BYTES:
        raise MediaError(f"cannot write {out}: {audio.shape[-1] / sample_rate_hz:.0f} s exceed the limit of a WAV file")
    with replacing(out) as part, part.open("wb") as file, wave.open(file, "wb") as sink:
        sink.setnchannels(2)
        sink.setsampwidth(_WAV_BYTES)
        sink.setframerate(sample_rate_hz)
        for block in blocks(audio):
            data = io.BytesIO()
            soundfile.write(data, block.T, sample_rate_hz, subtype="PCM_24", format="RAW", endian="LITTLE")
            sink.writeframesraw(data.getbuffer())


@contextmanager
def _sink(part: Path, out: str | Path) -> Iterator[OutputContainer]:
    """Open a media file for writing; error messages name ``out``."""
    suffix = Path(out).suffix.lower()
    if suffix not in VIDEO_SUFFIXES:
        raise MediaError(f"cannot write {out}: unknown video format; expected {', '.join(VIDEO_SUFFIXES)}")
    kind = {".mkv": "matroska", ".mov": "mov"}.get(suffix, "mp4")
    options = {} if kind == "matroska" else {"movflags": "+faststart", "movie_timescale": str(AUDIO_RATE_HZ)}
    try:
        with av.open(str(part), "w", format=kind, container_options=options) as output:
            yield output
    except (av.error.FFmpegError, OSError) as error:
        raise MediaError(f"cannot write {out}: {reason(error)}") from error


def _copy_video(
    container: InputContainer, output: OutputContainer, info: VideoInfo, audio: Tensor, sample_rate_hz: int,
    for_browsers: bool,  # noqa: FBT001
) -> None:  # fmt: skip
    """Copy the packets of the video, shifted to start at zero, and interleave the audio."""
    source = video_stream(container, info.path)
    codec = source.codec_context.codec.canonical_name
    if for_browsers and (codec not in _PLAYED_CODECS or source.codec_context.pix_fmt not in _PLAYED_FORMATS):
        raise ValueError(f"not every browser plays {codec}")
    stream = output.add_stream_from_template(source, opaque=True)
    if info.pixel_aspect != 1:
        stream.codec_context.sample_aspect_ratio = info.pixel_aspect
    if tag := _codec_tag(container, source, output):
        stream.codec_context.codec_tag = tag
    stream.metadata.update(source.metadata)
    _copy_metadata(container, output)
    track = AudioTrack(output, audio, sample_rate_hz, info.duration_s)
    for packet in packets(container, source):
        if not packet.size:
            continue  # the end of the stream
        if packet.dts is None and packet.pts is None:
            raise ValueError("the file has no time stamps to copy")
        shift = round(info.start_s / packet.time_base)
        packet.pts = packet.pts - shift if packet.pts is not None else None
        packet.dts = packet.dts - shift if packet.dts is not None else None
        time_s = float((packet.dts if packet.dts is not None else packet.pts or 0) * packet.time_base)
        packet.stream = stream
        output.mux(packet)
        track.mux_until(time_s)
    track.finish()


def _codec_tag(container: InputContainer, source: VideoStream, output: OutputContainer) -> str | None:
    """Return the four-character code that identifies the codec in QuickTime and MP4; None for the default.

    For HEVC it is ``hvc1``, which Apple's players require. Between QuickTime files the code is kept, because it
    distinguishes variants of ProRes, DV and uncompressed video.
    """
    if output.format.name not in {"mov", "mp4"}:
        return None
    if source.codec_context.name == "hevc":
        return "hvc1"
    tag = source.codec_context.codec_tag
    kept = output.format.name == "mov" and "mov" in container.format.name and len(tag) == 4 and tag.isprintable()
    return tag if kept else None


def _encode_video(
    container: InputContainer, output: OutputContainer, info: VideoInfo, audio: Tensor, sample_rate_hz: int
) -> None:
    """Decode and re-encode the video, upright, with its own time stamps."""
    rate = Fraction(1 / info.frame_s).limit_denominator(1001)
    time_base = Fraction(1, 90_000)
    _copy_metadata(container, output)
    stream = track = None
    convert = FrameConverter()
    for time_s, decoded in timed_frames(container, info):
        frame = convert(decoded)
        if stream is None or track is None:
            pixel_aspect = info.pixel_aspect if display_matrix(decoded)[0] else 1 / info.pixel_aspect
            stream = add_video_stream(output, frame, rate, time_base, _KEPT_QUALITY, pixel_aspect)
            track = AudioTrack(output, audio, sample_rate_hz, info.duration_s)
        frame.pts, frame.time_base = round(time_s / time_base), time_base
        output.mux(_timed(stream.encode(frame), info))
        track.mux_until(time_s)
    if stream is None or track is None:
        raise MediaError(f"no frame of {info.path} can be decoded; is it damaged?")
    output.mux(_timed(stream.encode(None), info))
    track.finish()


def _timed(packets: list[av.Packet[VideoStream]], info: VideoInfo) -> list[av.Packet[VideoStream]]:
    """Set the duration of the last packet so that the last frame keeps its display time."""
    for packet in packets:
        left_s = info.duration_s - float((packet.pts or 0) * packet.time_base)
        if left_s < info.last_s + 1e-3:
            packet.duration = round(left_s / packet.time_base)
    return packets


def _copy_metadata(container: InputContainer, output: OutputContainer) -> None:
    output.metadata.update({k: v for k, v in container.metadata.items() if k.lower() not in _STALE_TAGS})


def _same_video(source: VideoInfo, written: VideoInfo) -> bool:
    """Return whether a copy has the same frames at the same times and with the same aspect ratio."""
    tolerance_s = max(0.002, 0.1 * source.frame_s)
    in_time = written.n_frames == source.n_frames and abs(written.duration_s - source.duration_s) < tolerance_s
    return in_time and abs(written.pixel_aspect / source.pixel_aspect - 1) < _ASPECT_TOLERANCE
