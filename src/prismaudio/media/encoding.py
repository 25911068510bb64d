"""Encoded streams of an output file: a picture track and a sound track, fed piece by piece."""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING

import av
import numpy as np
import torch
from av.audio.resampler import AudioResampler

from prismaudio.errors import MediaError

if TYPE_CHECKING:
    from av.container import OutputContainer
    from av.video.stream import VideoStream
    from numpy.typing import NDArray
    from torch import Tensor

SOUND_RATE_HZ = 48_000
"""Sample rate of written AAC tracks: every player takes it, and its frames of 21 ms smear onsets least."""

_BIT_RATE = 192_000
_PIECE = 1024


def add_picture(
    output: OutputContainer, width: int, height: int, rate: Fraction, time_base: Fraction, quality: int
) -> VideoStream:
    """Add an H.264 picture track, or MPEG-4 where this build of PyAV has no H.264 encoder.

    Pictures are coded in the order in which they are shown, so that each keeps its exact time and length.

    Args:
        output: The file.
        width: Width in pixels; even.
        height: Height in pixels; even.
        rate: Nominal pictures per second.
        time_base: Unit of the time stamps.
        quality: H.264 quality, 0 (lossless) .. 51.
    """
    has_h264 = "libx264" in av.codecs_available
    options = {"crf": str(quality), "preset": "medium", "bf": "0"} if has_h264 else {"qscale": "2", "qmin": "1"}
    stream = output.add_stream("libx264" if has_h264 else "mpeg4", rate, options=options)
    stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
    stream.codec_context.time_base = time_base
    if not has_h264:
        stream.bit_rate = 8_000_000
    return stream


class SoundTrack:
    """A stereo AAC track of an exact length, muxed as far as the picture has come.

    Args:
        output: The file to add the track to.
        audio: Sound ``(2, samples)`` in -1 .. 1.
        sample_rate_hz: Its sample rate.
        duration_s: Length of the track; the sound is cut or filled with silence.
    """

    def __init__(self, output: OutputContainer, audio: Tensor, sample_rate_hz: int, duration_s: float) -> None:
        self._output = output
        self._stream = output.add_stream("aac", SOUND_RATE_HZ, layout="stereo", bit_rate=_BIT_RATE)
        self._stream.codec_context.time_base = Fraction(1, SOUND_RATE_HZ)
        self._sound = fit(resample(as_array(audio), sample_rate_hz, SOUND_RATE_HZ), round(duration_s * SOUND_RATE_HZ))
        self._done = 0

    def mux_until(self, time_s: float) -> None:
        """Write the sound up to a time in seconds."""
        while self._done < self._sound.shape[1] and self._done < time_s * SOUND_RATE_HZ:
            piece = np.ascontiguousarray(self._sound[:, self._done : self._done + _PIECE])
            frame = av.AudioFrame.from_ndarray(piece, "fltp", "stereo")
            frame.sample_rate, frame.pts, frame.time_base = SOUND_RATE_HZ, self._done, Fraction(1, SOUND_RATE_HZ)
            self._done += piece.shape[1]
            self._output.mux(self._stream.encode(frame))

    def finish(self) -> None:
        """Write what is left."""
        self.mux_until(float("inf"))
        self._output.mux(self._stream.encode(None))


def as_array(audio: Tensor) -> NDArray[np.float32]:
    """Sound as a finite array ``(2, samples)`` within full scale.

    Raises:
        MediaError: It is not stereo.
    """
    if audio.ndim != 2 or audio.shape[0] != 2:
        raise MediaError(f"cannot write sound of shape {tuple(audio.shape)}; expected (2, samples)")
    sound = torch.nan_to_num(audio.detach().float().cpu(), nan=0.0, posinf=0.0, neginf=0.0)
    return sound.clamp(-1, 1).numpy()


def resample(sound: NDArray[np.float32], from_hz: int, to_hz: int) -> NDArray[np.float32]:
    """Change the sample rate of sound ``(2, samples)``; time zero stays in place.

    Example:
        >>> resample(np.zeros((2, 160), np.float32), 16_000, 48_000).shape[1] >= 470
        True
    """
    if from_hz == to_hz or not sound.shape[1]:
        return sound
    resampler = AudioResampler("fltp", "stereo", to_hz)
    frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(sound), "fltp", "stereo")
    frame.sample_rate = from_hz
    frames = [*resampler.resample(frame), *resampler.resample(None)]
    return np.concatenate([f.to_ndarray() for f in frames], axis=1).astype(np.float32)


def fit(sound: NDArray[np.float32], n_samples: int) -> NDArray[np.float32]:
    """Cut sound ``(2, samples)``, or fill it with silence, to a length."""
    return np.pad(sound[:, :n_samples], ((0, 0), (0, max(0, n_samples - sound.shape[1]))))
