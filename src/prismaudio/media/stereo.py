"""Decoding of audio to stereo chunks at one sample rate, with silence in gaps of the time stamps."""

from __future__ import annotations

from typing import TYPE_CHECKING

import av
import numpy as np
from av.audio.resampler import AudioResampler

from prismaudio.errors import MediaError
from prismaudio.media.continuity import MAX_GAP_S, placed
from prismaudio.media.decoding import decoded
from prismaudio.media.opening import video_streams

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from av.audio.stream import AudioStream
    from av.container import InputContainer
    from numpy.typing import NDArray

MIN_RATE_HZ = 1000
"""Audio with a lower sample rate is rejected: a few damaged bytes would decode to hours of audio."""

_MAX_SILENCE_RATIO = 20  # total length of gaps relative to the audio, in addition to the longest allowed gap


def stereo_pieces(
    container: InputContainer, stream: AudioStream, sample_rate_hz: int, start_s: float
) -> Iterator[NDArray[np.float32]]:
    """Decode and resample the audio of a file in stereo chunks ``(2, samples)``, from a start time on.

    Samples are placed by their time stamps: gaps are filled with silence, and overlaps are removed from the later
    audio.

    Args:
        container: The file.
        stream: Its audio track, see :func:`prismaudio.media.opening.audio_stream`.
        sample_rate_hz: Target sample rate.
        start_s: Start time on the file's own clock, with silence up to the first sample; without video, relative to
            the first sample.

    Raises:
        MediaError: The gaps are implausibly long.
    """
    n_done = n_silent = n_skipped = 0
    run_s: float | None = None
    for begin_s, piece in _runs(container, stream, sample_rate_hz):
        if run_s is None and not video_streams(container):
            start_s += max(0.0, begin_s)
        if begin_s != run_s:
            run_s, begin = begin_s, round((begin_s - start_s) * sample_rate_hz)
            n_gap, n_skipped = max(begin - n_done, 0), max(n_done - begin, 0)
            n_silent += n_gap
            if n_silent > MAX_GAP_S * sample_rate_hz + _MAX_SILENCE_RATIO * n_done:
                hours = n_silent / sample_rate_hz / 3600
                raise MediaError(
                    f"the audio of {container.name} has gaps of {hours:.1f} hours: its time stamps are damaged; "
                    "convert the file first"
                )
            yield from _silence(n_gap, sample_rate_hz)
            n_done += n_gap
        kept = piece[:, n_skipped:]
        n_skipped = max(0, n_skipped - piece.shape[1])
        n_done += kept.shape[1]
        yield kept


def _silence(n_samples: int, chunk_samples: int) -> Iterator[NDArray[np.float32]]:
    for begin in range(0, n_samples, chunk_samples):
        yield np.zeros((2, min(chunk_samples, n_samples - begin)), np.float32)


def _runs(
    container: InputContainer, stream: AudioStream, sample_rate_hz: int
) -> Iterator[tuple[float, NDArray[np.float32]]]:
    """Yield resampled stereo chunks, each with the start time in seconds of the contiguous run that it belongs to."""
    resampler: AudioResampler | None = None
    run_s, form = 0.0, ""
    for time_s, follows, frame in placed(_frames(container, stream)):
        form_now = f"{frame.layout.name} {frame.format.name} {frame.sample_rate}"
        if resampler is None or not follows or form_now != form:
            yield from _arrays(run_s, resampler.resample(None) if resampler else [])
            target = "mono" if len(frame.layout.channels) == 1 else "stereo"
            resampler, form, run_s = AudioResampler("fltp", target, sample_rate_hz), form_now, time_s
        frame.pts = None
        yield from _arrays(run_s, resampler.resample(frame))
    if resampler is not None:
        yield from _arrays(run_s, resampler.resample(None))


def _frames(container: InputContainer, stream: AudioStream) -> Iterator[av.AudioFrame]:
    for frame in decoded(container, stream):
        if isinstance(frame, av.AudioFrame) and frame.sample_rate < MIN_RATE_HZ:
            stated = f"the audio of {container.name} states {frame.sample_rate} samples per second"
            raise MediaError(f"{stated}; expected at least {MIN_RATE_HZ}; is it damaged?")
        if isinstance(frame, av.AudioFrame):
            yield frame


def _arrays(run_s: float, frames: Iterable[av.AudioFrame]) -> Iterator[tuple[float, NDArray[np.float32]]]:
    for frame in frames:
        yield run_s, np.broadcast_to(frame.to_ndarray(), (2, frame.samples)).astype(np.float32)
