"""Reading files of any length in segments, with constant memory."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from prismaudio.errors import MediaError
from prismaudio.media.encoding import recut
from prismaudio.media.opening import audio_stream, opened, video_streams
from prismaudio.media.probing import VideoInfo, probe
from prismaudio.media.reading import clip_frames
from prismaudio.media.stereo import stereo_pieces
from prismaudio.types import FrameSpec

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from torch import Tensor

    Edges = Sequence[tuple[float, float]]

MIN_RATE_HZ, MAX_RATE_HZ = 8_000, 48_000
"""Audio with a sample rate in this range is read without resampling; other rates are clamped to it."""


@dataclass(frozen=True)
class Survey:
    """Properties of an audio or video file.

    Args:
        path: The file.
        duration_s: Duration of the video, or of the audio if there is no video.
        video: Properties of the video; None for an audio file.
        sample_rate_hz: Sample rate at which the audio is read; None if there is no audio.
        peak: Largest absolute sample at that rate.
        audio_s: Duration of the audio, from the first frame on.
    """

    path: Path
    duration_s: float
    video: VideoInfo | None
    sample_rate_hz: int | None
    peak: float
    audio_s: float = 0.0


def has_video(path: str | Path) -> bool:
    """Return whether a file has a video track; cover images do not count.

    Raises:
        MediaError: The file cannot be read.
    """
    with opened(path) as container:
        return bool(video_streams(container))


def has_audio(path: str | Path) -> bool:
    """Return whether a file has an audio track.

    Raises:
        MediaError: The file cannot be read.
    """
    with opened(path) as container:
        return bool(container.streams.audio)


def survey(path: str | Path) -> Survey:
    """Determine the properties of an audio or video file; its audio is decoded but not kept.

    Raises:
        MediaError: The file cannot be read, is empty, or its audio is not finite.
    """
    video = probe(path) if has_video(path) else None
    with opened(path) as container:
        own_rate_hz = audio_stream(container, path).sample_rate if container.streams.audio else None
    if own_rate_hz is None:
        if video is None:
            raise MediaError(f"{path} has neither video nor audio; expected at least one")
        return Survey(Path(path), video.duration_s, video, None, 0.0)
    rate_hz = min(max(own_rate_hz, MIN_RATE_HZ), MAX_RATE_HZ)
    n_samples, peak = 0, 0.0
    with opened(path) as container:
        stream = audio_stream(container, path)
        for piece in stereo_pieces(container, stream, rate_hz, video.start_s if video else 0.0):
            n_samples, peak = n_samples + piece.shape[1], max(peak, float(np.abs(piece).max(initial=0.0)))
            if not np.isfinite(piece).all():
                raise MediaError(f"the audio of {path} contains NaN or infinity; expected finite samples")
    if not n_samples:
        raise MediaError(f"the audio of {path} cannot be decoded, or is empty")
    audio_s = n_samples / rate_hz
    return Survey(Path(path), video.duration_s if video else audio_s, video, rate_hz, peak, audio_s)


def segment_edges(duration_s: float, longest_s: float) -> list[tuple[float, float]]:
    """Divide a duration into equal segments of at most ``longest_s``; returns start and end of each in seconds.

    Example:
        >>> segment_edges(45.0, 30.0)
        [(0.0, 22.5), (22.5, 45.0)]
    """
    n_segments = max(1, int(np.ceil(duration_s / longest_s - 1e-6)))
    ends = [duration_s * (i + 1) / n_segments for i in range(n_segments)]
    return list(zip([0.0, *ends[:-1]], ends, strict=True))


def audio_segments(file: Survey, edges: Edges, sample_rate_hz: int) -> Iterator[Tensor]:
    """Read the audio float32 ``(2, samples)`` of each segment, padded with silence beyond the end of the file.

    Audio that exceeds full scale is scaled down as a whole, as by :func:`prismaudio.media.read_audio_track`.

    Args:
        file: A file with audio.
        edges: Consecutive segments.
        sample_rate_hz: Target sample rate.
    """
    lengths = [round(end_s * sample_rate_hz) - round(begin_s * sample_rate_hz) for begin_s, end_s in edges]
    scale = 1 / max(1.0, file.peak)
    with opened(file.path) as container:
        stream = audio_stream(container, file.path)
        pieces = stereo_pieces(container, stream, sample_rate_hz, file.video.start_s if file.video else 0.0)
        for segment in recut(pieces, lengths):
            yield torch.from_numpy(np.ascontiguousarray((segment * scale).clip(-1, 1), dtype=np.float32))


def frame_segments(video: VideoInfo, edges: Edges, spec: FrameSpec) -> Iterator[Tensor]:
    """Read the frames uint8 ``(time, 3, height, width)`` of each segment.

    Args:
        video: The file.
        edges: Consecutive segments.
        spec: Frame rate and frame size.
    """
    frames = clip_frames(video, spec)
    last: list[Tensor] = []
    for begin_s, end_s in edges:
        n_frames = max(1, round(end_s * spec.fps) - round(begin_s * spec.fps))
        found = list(islice(frames, n_frames))
        yield torch.stack(found or last)
        last = (found or last)[-1:]
