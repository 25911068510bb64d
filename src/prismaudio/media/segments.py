"""Reading files of any length in windows, so that memory does not grow with them."""

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

LOWEST_HZ, HIGHEST_HZ = 8_000, 48_000
"""Sample rates at which sound is read as it is; others become the nearest of these."""


@dataclass(frozen=True)
class Survey:
    """What a file holds.

    Args:
        path: The file.
        duration_s: How long its frames last; without any, its sound.
        video: Its frames; None for a file of sound.
        sample_rate_hz: Samples per second that its sound is read with; None when there is no sound.
        peak: Largest sample of that.
        audio_s: How long the sound lasts, from the first frame on.
    """

    path: Path
    duration_s: float
    video: VideoInfo | None
    sample_rate_hz: int | None
    peak: float
    audio_s: float = 0.0


def has_video(path: str | Path) -> bool:
    """Whether a file holds a video, a picture on the cover not counted.

    Raises:
        MediaError: It cannot be read.
    """
    with opened(path) as container:
        return bool(video_streams(container))


def survey(path: str | Path) -> Survey:
    """Find out what a file of sound or video holds; decodes its sound, and keeps nothing of it.

    Raises:
        MediaError: It cannot be read, is empty, or its sound is not made of numbers.
    """
    video = probe(path) if has_video(path) else None
    with opened(path) as container:
        own_rate_hz = audio_stream(container, path).sample_rate if container.streams.audio else None
    if own_rate_hz is None:
        if video is None:
            raise MediaError(f"{path} holds neither frames nor sound")
        return Survey(Path(path), video.duration_s, video, None, 0.0)
    rate_hz = min(max(own_rate_hz, LOWEST_HZ), HIGHEST_HZ)
    n_samples, peak = 0, 0.0
    with opened(path) as container:
        stream = audio_stream(container, path)
        for piece in stereo_pieces(container, stream, rate_hz, video.start_s if video else 0.0):
            n_samples, peak = n_samples + piece.shape[1], max(peak, float(np.abs(piece).max(initial=0.0)))
            if not np.isfinite(piece).all():
                raise MediaError(f"{path} has samples that are not numbers (NaN or infinite); write the file again")
    if not n_samples:
        raise MediaError(f"the sound of {path} cannot be decoded, or is empty")
    audio_s = n_samples / rate_hz
    return Survey(Path(path), video.duration_s if video else audio_s, video, rate_hz, peak, audio_s)


def segment_edges(duration_s: float, longest_s: float) -> list[tuple[float, float]]:
    """Beginning and end in seconds of equal windows that are no longer than ``longest_s``.

    Example:
        >>> segment_edges(45.0, 30.0)
        [(0.0, 22.5), (22.5, 45.0)]
    """
    n_windows = max(1, int(np.ceil(duration_s / longest_s - 1e-6)))
    ends = [duration_s * (i + 1) / n_windows for i in range(n_windows)]
    return list(zip([0.0, *ends[:-1]], ends, strict=True))


def audio_segments(file: Survey, edges: Edges, sample_rate_hz: int) -> Iterator[Tensor]:
    """The sound float32 ``(2, samples)`` of each window, filled with silence where the file has none.

    A sound that exceeds full scale is lowered as a whole, as :func:`prismaudio.media.read_audio_track` does.

    Args:
        file: A file with sound.
        edges: Windows that follow each other.
        sample_rate_hz: Samples per second wanted.
    """
    lengths = [round(end_s * sample_rate_hz) - round(begin_s * sample_rate_hz) for begin_s, end_s in edges]
    scale = 1 / max(1.0, file.peak)
    with opened(file.path) as container:
        stream = audio_stream(container, file.path)
        pieces = stereo_pieces(container, stream, sample_rate_hz, file.video.start_s if file.video else 0.0)
        for window in recut(pieces, lengths):
            yield torch.from_numpy(np.ascontiguousarray((window * scale).clip(-1, 1), dtype=np.float32))


def frame_segments(video: VideoInfo, edges: Edges, spec: FrameSpec) -> Iterator[Tensor]:
    """The frames uint8 ``(time, 3, height, width)`` of each window.

    Args:
        video: The file.
        edges: Windows that follow each other.
        spec: Which frames are wanted.
    """
    frames = clip_frames(video, spec)
    last: list[Tensor] = []
    for begin_s, end_s in edges:
        n_frames = max(1, round(end_s * spec.fps) - round(begin_s * spec.fps))
        found = list(islice(frames, n_frames))
        yield torch.stack(found or last)
        last = (found or last)[-1:]
