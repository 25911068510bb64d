"""Encoded streams of an output file: a video track, and an audio track that is encoded in chunks."""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING

import av
import numpy as np
from av.audio.resampler import AudioResampler

from prismaudio.errors import MediaError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from av.container import OutputContainer
    from av.video.frame import VideoFrame
    from av.video.stream import VideoStream
    from numpy.typing import NDArray
    from torch import Tensor

AUDIO_RATE_HZ = 48_000
"""Sample rate of written AAC tracks: all players support it, and its short frames of 21 ms smear onsets least."""

_BIT_RATE = 192_000
_CHUNK = 1024


def add_video_stream(
    output: OutputContainer,
    first: VideoFrame,
    rate: Fraction,
    time_base: Fraction,
    quality: int,
    pixel_aspect: Fraction = Fraction(1),
) -> VideoStream:
    """Add an H.264 video track, or MPEG-4 if this build of PyAV has no H.264 encoder.

    Frames are coded in presentation order (no B-frames), so that each keeps its exact time and duration.

    Args:
        output: The file.
        first: A frame from :class:`prismaudio.media.frames.FrameConverter`; it defines the size and the colour tags of
            the track.
        rate: Nominal frames per second.
        time_base: Unit of the time stamps.
        quality: H.264 CRF, 0 (lossless) .. 51.
        pixel_aspect: Pixel aspect ratio, displayed width by height.
    """
    has_h264 = "libx264" in av.codecs_available
    options = {"crf": str(quality), "preset": "medium", "bf": "0"} if has_h264 else {"qscale": "2", "qmin": "1"}
    stream = output.add_stream("libx264" if has_h264 else "mpeg4", rate, options=options)
    stream.width, stream.height, stream.pix_fmt = first.width, first.height, "yuv420p"
    context = stream.codec_context
    context.time_base = time_base
    context.colorspace, context.color_range = first.colorspace, first.color_range
    context.color_primaries, context.color_trc = first.color_primaries, first.color_trc
    if pixel_aspect != 1:
        context.sample_aspect_ratio = pixel_aspect
    if not has_h264:
        stream.bit_rate = 8_000_000
    return stream


class AudioTrack:
    """A stereo AAC track of exact duration, interleaved with the video.

    The waveform is resampled in chunks, so that no second copy of it is held in memory.

    Args:
        output: The file to add the track to.
        audio: Audio ``(2, samples)`` in -1 .. 1.
        sample_rate_hz: Its sample rate.
        duration_s: Duration of the track; the audio is cropped or padded with silence.
    """

    def __init__(self, output: OutputContainer, audio: Tensor, sample_rate_hz: int, duration_s: float) -> None:
        self._output = output
        self._stream = output.add_stream("aac", AUDIO_RATE_HZ, layout="stereo", bit_rate=_BIT_RATE)
        self._stream.codec_context.time_base = Fraction(1, AUDIO_RATE_HZ)
        n_samples = round(duration_s * AUDIO_RATE_HZ)
        lengths = (min(_CHUNK, n_samples - first) for first in range(0, n_samples, _CHUNK))
        self._chunks = recut(resampled(blocks(audio), sample_rate_hz, AUDIO_RATE_HZ), lengths)
        self._done, self._n_samples = 0, n_samples

    def mux_until(self, time_s: float) -> None:
        """Encode and mux the audio up to a time in seconds."""
        while self._done < min(self._n_samples, time_s * AUDIO_RATE_HZ):
            chunk = next(self._chunks)
            frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(chunk), "fltp", "stereo")
            frame.sample_rate, frame.pts, frame.time_base = AUDIO_RATE_HZ, self._done, Fraction(1, AUDIO_RATE_HZ)
            self._done += chunk.shape[1]
            self._output.mux(self._stream.encode(frame))

    def finish(self) -> None:
        """Mux the remaining audio and flush the encoder."""
        self.mux_until(float("inf"))
        self._output.mux(self._stream.encode(None))


def blocks(audio: Tensor, n_samples: int = 1 << 16) -> Iterator[NDArray[np.float32]]:
    """Split audio ``(2, samples)`` into arrays of a few seconds, with finite values clipped to full scale.

    Raises:
        MediaError: The audio is not stereo.
    """
    if audio.ndim != 2 or audio.shape[0] != 2:
        raise MediaError(f"cannot write audio of shape {tuple(audio.shape)}; expected (2, samples)")
    for block in audio.detach().split(n_samples, dim=1):
        finite = np.nan_to_num(block.float().cpu().numpy(), nan=0.0, posinf=0.0, neginf=0.0)
        yield finite.clip(-1, 1)


def resampled(pieces: Iterable[NDArray[np.float32]], from_hz: int, to_hz: int) -> Iterator[NDArray[np.float32]]:
    """Resample chunks ``(2, any)`` of a waveform as one signal, without delay.

    Example:
        >>> chunks = resampled([np.zeros((2, 160), np.float32)], 16_000, 48_000)
        >>> sum(chunk.shape[1] for chunk in chunks) >= 470
        True
    """
    if from_hz == to_hz:
        yield from pieces
        return
    resampler = AudioResampler("fltp", "stereo", to_hz)
    for piece in filter(np.size, pieces):
        frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(piece), "fltp", "stereo")
        frame.sample_rate = from_hz
        yield from (made.to_ndarray().astype(np.float32, copy=False) for made in resampler.resample(frame))
    yield from (made.to_ndarray().astype(np.float32, copy=False) for made in resampler.resample(None))


def recut(pieces: Iterable[NDArray[np.float32]], lengths: Iterable[int]) -> Iterator[NDArray[np.float32]]:
    """Regroup chunks ``(2, any)`` to the given lengths, padded with silence at the end.

    Example:
        >>> [piece.shape[1] for piece in recut([np.zeros((2, 5)), np.zeros((2, 2))], [3, 3, 3])]
        [3, 3, 3]
    """
    source, rest = iter(pieces), np.zeros((2, 0), np.float32)
    for length in lengths:
        held, n_held = [rest], rest.shape[1]
        while n_held < length and (piece := next(source, None)) is not None:
            held.append(piece)
            n_held += piece.shape[1]
        whole = held[0] if len(held) == 1 else np.concatenate(held, axis=1)
        n_lacking = length - whole.shape[1]
        yield np.pad(whole, ((0, 0), (0, n_lacking))) if n_lacking > 0 else whole[:, :length]
        rest = whole[:, length:]
