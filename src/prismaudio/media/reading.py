"""Reading clips: frames at a constant rate and size, and stereo audio."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import av
import numpy as np
import torch

from prismaudio.errors import MediaError
from prismaudio.media.decoding import decoded
from prismaudio.media.frames import Shrinker
from prismaudio.media.opening import audio_stream, opened, video_stream
from prismaudio.media.probing import VideoInfo, probe
from prismaudio.media.stereo import stereo_pieces
from prismaudio.types import Clip, FrameSpec

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from av.container import InputContainer
    from numpy.typing import NDArray
    from torch import Tensor


def read_clip(
    path: str | Path,
    spec: FrameSpec = FrameSpec(),
    *,
    with_audio: bool = False,
    sample_rate_hz: int = 16_000,
) -> Clip:
    """Read a video of any container, codec, size, aspect ratio, rotation and frame rate.

    Args:
        path: The video file.
        spec: Frame rate and frame size of the clip.
        with_audio: Whether to read the audio too; it is None if the file has no audio track.
        sample_rate_hz: Sample rate of the audio.

    Returns:
        The clip; its time starts at the first frame. Frames are uint8 ``(time, 3, height, width)``, with
        ``time = round(duration_s * spec.fps)`` and at least 1.

    Raises:
        MediaError: The file cannot be read.
    """
    info = probe(path)
    return replace(
        _clips(info, [spec])[spec],
        audio=read_audio_track(path, sample_rate_hz, info.duration_s, info.start_s) if with_audio else None,
        sample_rate_hz=sample_rate_hz if with_audio and info.has_audio else None,
    )


def read_clips(path: str | Path, specs: Iterable[FrameSpec]) -> dict[FrameSpec, Clip]:
    """Read a video at several frame rates and sizes; it is decoded once.

    Args:
        path: The video file.
        specs: Frame rates and frame sizes.

    Returns:
        For each specification the clip that :func:`read_clip` returns, without audio.

    Raises:
        MediaError: The file cannot be read.
    """
    return _clips(probe(path), list(dict.fromkeys(specs)))


def _clips(info: VideoInfo, specs: Sequence[FrameSpec]) -> dict[FrameSpec, Clip]:
    """Clips of the same video by frame specification; only their frames are kept in memory."""
    frames: list[Tensor | None] = [None] * len(specs)
    n_read = [0] * len(specs)
    for row, frame, n_times in _converted(info, specs):
        into = frames[row]
        if into is None:
            into = frames[row] = torch.empty((_n_frames(info, specs[row].fps), *frame.shape), dtype=torch.uint8)
        # NumPy copies in this thread, and torch in threads that each reading thread would start
        into.numpy()[n_read[row] : n_read[row] + n_times] = frame
        n_read[row] += n_times
    return {
        spec: Clip(info.path.stem, info.duration_s, read, spec.fps, file=info.path)
        for spec, read in zip(specs, frames, strict=True)
    }


def read_frames_at(
    path: str | Path, times_s: Iterable[float], size: int | tuple[int, int], *, keep_aspect_ratio: bool = True
) -> tuple[Tensor, tuple[float, ...]]:
    """Read the frames that a video shows at some times, with their own presentation times; it is decoded once.

    Args:
        path: The video file.
        times_s: Times in seconds from the first frame, in any order; after the end, the last frame is shown.
        size: Height and width in pixels, or one number for both, as in :class:`prismaudio.types.FrameSpec`.
        keep_aspect_ratio: Whether frames keep their aspect ratio; the size is then the maximum of the shorter side.

    Returns:
        Frames uint8 ``(time, 3, height, width)`` and their times in seconds, ascending; a frame that is shown at
        several of the times is there once.

    Raises:
        MediaError: The file cannot be read.
    """
    info = probe(path)
    shrinker = Shrinker(FrameSpec(size=size, keep_aspect_ratio=keep_aspect_ratio), info.pixel_aspect)
    wanted_s = sorted(times_s)
    frames, found_s = [], []
    with opened(info.path) as container:
        for (time_s, frame), until_s in _until(timed_frames(container, info)):
            n_wanted = len(wanted_s)
            while wanted_s and wanted_s[0] < until_s - 1e-6:
                del wanted_s[0]
            if len(wanted_s) < n_wanted:
                frames.append(torch.from_numpy(shrinker(frame)).permute(2, 0, 1))
                found_s.append(max(time_s, 0.0))
            if not wanted_s:
                break
    if not frames:
        raise MediaError(f"no frame of {info.path} can be decoded; is it damaged?")
    return torch.stack(frames), tuple(found_s)


def _until(
    frames: Iterable[tuple[float, av.VideoFrame]],
) -> Iterator[tuple[tuple[float, av.VideoFrame], float]]:
    """Pair each frame with the time at which the next one replaces it; the last one stays."""
    shown = None
    for item in frames:
        if shown is not None:
            yield shown, item[0]
        shown = item
    if shown is not None:
        yield shown, float("inf")


def clip_frames(info: VideoInfo, spec: FrameSpec) -> Iterator[Tensor]:
    """Iterate over the frames uint8 ``(3, height, width)`` of :func:`read_clip`.

    Args:
        info: The file.
        spec: Frame rate and frame size.

    Raises:
        MediaError: No frame can be decoded.
    """
    for _, frame, n_times in _converted(info, [spec]):
        yield from [torch.from_numpy(np.ascontiguousarray(frame))] * n_times


def _converted(info: VideoInfo, specs: Sequence[FrameSpec]) -> Iterator[tuple[int, NDArray[np.uint8], int]]:
    """Decode a video and convert the frames that are needed.

    Returns:
        Index of the specification, frame ``(3, height, width)``, and the number of clip frames that it fills.
    """
    shrinkers = [Shrinker(spec, info.pixel_aspect) for spec in specs]
    found = False
    with opened(info.path) as container:
        for decoded_frame, counts in _held(container, info, specs):
            for row, n_times in enumerate(counts):
                if n_times:
                    found = True
                    yield row, shrinkers[row](decoded_frame).transpose(2, 0, 1), n_times
    if specs and not found:
        raise MediaError(f"no frame of {info.path} can be decoded; is it damaged?")


def _n_frames(info: VideoInfo, fps: float) -> int:
    return max(1, round(info.duration_s * fps))


def read_audio_track(
    path: str | Path, sample_rate_hz: int, duration_s: float | None = None, start_s: float = 0.0
) -> Tensor | None:
    """Read the audio track of a file as stereo float32 ``(2, samples)``; None if there is none.

    More than two channels are mixed down with the usual weights, mono is copied to both channels. A mix that exceeds
    full scale is scaled down as a whole. Gaps in its time stamps are filled with silence.

    Args:
        path: A video or audio file.
        sample_rate_hz: Target sample rate.
        duration_s: Target duration, cropped or padded with silence; None for the whole track.
        start_s: Start time on the file's own clock (:attr:`prismaudio.media.VideoInfo.start_s` for the time of the
            first frame); in a file without video, relative to the first sample.

    Raises:
        MediaError: The file cannot be read.
    """
    with opened(path) as container:
        if not container.streams.audio:
            return None
        pieces = stereo_pieces(container, audio_stream(container, path), sample_rate_hz, start_s)
        n_samples = None if duration_s is None else round(duration_s * sample_rate_hz)
        audio = np.concatenate([np.zeros((2, 0), np.float32), *_up_to(pieces, n_samples)], axis=1)
    audio /= max(1.0, float(np.abs(audio).max(initial=0.0)))
    return torch.from_numpy(audio)


def _up_to(pieces: Iterable[NDArray[np.float32]], n_samples: int | None) -> Iterator[NDArray[np.float32]]:
    """Crop or pad chunks ``(2, any)`` with silence to a total length; None passes them all through."""
    n_left = n_samples
    for piece in pieces:
        yield piece[:, :n_left]
        if n_left is not None and (n_left := n_left - piece.shape[1]) <= 0:
            return
    yield np.zeros((2, n_left or 0), np.float32)


def timed_frames(container: InputContainer, info: VideoInfo) -> Iterator[tuple[float, av.VideoFrame]]:
    """Decode frames in presentation order, with their times in seconds from the first one."""
    time_s = -info.frame_s
    for frame in decoded(container, video_stream(container, info.path)):
        if isinstance(frame, av.VideoFrame):
            time_s = frame.time - info.start_s if frame.time is not None else time_s + info.frame_s
            yield time_s, frame


def _held(
    container: InputContainer, info: VideoInfo, specs: Sequence[FrameSpec]
) -> Iterator[tuple[av.VideoFrame, list[int]]]:
    """Pair each decoded frame with the number of frames that it fills in the clip of each specification."""
    rates_hz = [spec.fps for spec in specs]
    totals = [_n_frames(info, fps) for fps in rates_hz]
    nearest_s = [0.5 * min(info.frame_s, 1 / fps) - 1e-6 for fps in rates_hz]
    shown: av.VideoFrame | None = None
    done = [0] * len(specs)
    for time_s, frame in timed_frames(container, info):
        if shown is not None:
            before = [
                max(n_done, min(total, int(np.ceil((time_s - near_s) * fps))))
                for n_done, total, near_s, fps in zip(done, totals, nearest_s, rates_hz, strict=True)
            ]
            if before != done:
                yield shown, _difference(before, done)
                done = before
        shown = frame
        if done == totals:
            return
    if shown is not None:
        yield shown, _difference(totals, done)


def _difference(counts: Sequence[int], others: Sequence[int]) -> list[int]:
    return [count - other for count, other in zip(counts, others, strict=True)]
