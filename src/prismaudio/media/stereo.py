"""Decoded sound as stereo pieces of one sample rate, with silence where its time stamps have holes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import av
import numpy as np
from av.audio.resampler import AudioResampler

from prismaudio.errors import MediaError
from prismaudio.media.continuity import LONGEST_HOLE_S, placed
from prismaudio.media.decoding import decoded
from prismaudio.media.opening import video_streams

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from av.audio.stream import AudioStream
    from av.container import InputContainer
    from numpy.typing import NDArray

LOWEST_RATE_HZ = 1000
"""Sound of fewer samples per second is refused: it would last for hours by a few bytes that are damaged."""

_SILENCE_TO_SOUND = 20  # holes may be this many times as long as what is heard, beyond the longest one


def stereo_pieces(
    container: InputContainer, stream: AudioStream, sample_rate_hz: int, start_s: float
) -> Iterator[NDArray[np.float32]]:
    """The sound of a file, resampled, in stereo ``(2, samples)``, piece by piece from a moment on.

    Each sample is where its time stamp says: holes are silent, and of sounds that overlap the later one is cut.

    Args:
        container: The file.
        stream: Its audio track, see :func:`prismaudio.media.opening.audio_stream`.
        sample_rate_hz: Samples per second wanted.
        start_s: Where to begin, on the file's own clock, with silence up to the first sample; without frames, from
            the first sample on.

    Raises:
        MediaError: Its holes are longer than can be.
    """
    n_done = n_silent = n_skipped = 0
    run_s: float | None = None
    for begin_s, piece in _runs(container, stream, sample_rate_hz):
        if run_s is None and not video_streams(container):
            start_s += max(0.0, begin_s)
        if begin_s != run_s:
            run_s, begin = begin_s, round((begin_s - start_s) * sample_rate_hz)
            n_hole, n_skipped = max(begin - n_done, 0), max(n_done - begin, 0)
            n_silent += n_hole
            if n_silent > LONGEST_HOLE_S * sample_rate_hz + _SILENCE_TO_SOUND * n_done:
                hours = n_silent / sample_rate_hz / 3600
                raise MediaError(
                    f"the sound of {container.name} has holes of {hours:.1f} hours: its time stamps are damaged; "
                    "convert the file anew"
                )
            yield from _silence(n_hole, sample_rate_hz)
            n_done += n_hole
        heard = piece[:, n_skipped:]
        n_skipped = max(0, n_skipped - piece.shape[1])
        n_done += heard.shape[1]
        yield heard


def _silence(n_samples: int, n_at_once: int) -> Iterator[NDArray[np.float32]]:
    for begin in range(0, n_samples, n_at_once):
        yield np.zeros((2, min(n_at_once, n_samples - begin)), np.float32)


def _runs(
    container: InputContainer, stream: AudioStream, sample_rate_hz: int
) -> Iterator[tuple[float, NDArray[np.float32]]]:
    """Resampled stereo pieces, each with the time in seconds at which the run of frames began that it belongs to."""
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
        if isinstance(frame, av.AudioFrame) and frame.sample_rate < LOWEST_RATE_HZ:
            stated = f"the sound of {container.name} states {frame.sample_rate} samples per second"
            raise MediaError(f"{stated}; expected at least {LOWEST_RATE_HZ}; is it damaged?")
        if isinstance(frame, av.AudioFrame):
            yield frame


def _arrays(run_s: float, frames: Iterable[av.AudioFrame]) -> Iterator[tuple[float, NDArray[np.float32]]]:
    for frame in frames:
        yield run_s, np.broadcast_to(frame.to_ndarray(), (2, frame.samples)).astype(np.float32)
