"""Reading clips: frames at a constant rate and size, and their sound in stereo."""

from __future__ import annotations

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
    from collections.abc import Iterable, Iterator

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
    """Read a video of any container, codec, size, shape, rotation and frame rate.

    Args:
        path: The video file.
        spec: Rate and size of its frames.
        with_audio: Read the sound too; it stays None when the file has no audio track.
        sample_rate_hz: Samples per second of that sound.

    Returns:
        The clip; its time starts at the first frame. Frames are uint8 ``(time, 3, height, width)``, with
        ``time = round(duration_s * spec.fps)`` and at least 1.

    Raises:
        MediaError: It cannot be read.
    """
    info = probe(path)
    frames: Tensor | None = None
    for index, frame in enumerate(clip_frames(info, spec)):
        if frames is None:
            frames = frame.new_empty((_n_frames(info, spec.fps), *frame.shape))
        frames[index] = frame
    return Clip(
        id=Path(path).stem,
        duration_s=info.duration_s,
        frames=frames,
        fps=spec.fps,
        audio=read_audio_track(path, sample_rate_hz, info.duration_s, info.start_s) if with_audio else None,
        sample_rate_hz=sample_rate_hz if with_audio and info.has_audio else None,
    )


def clip_frames(info: VideoInfo, spec: FrameSpec) -> Iterator[Tensor]:
    """The frames uint8 ``(3, height, width)`` of :func:`read_clip`, one after the other.

    Args:
        info: The file.
        spec: Their rate and size.

    Raises:
        MediaError: It has none that can be decoded.
    """
    shrink = Shrinker(spec, info.pixel_aspect)
    n_frames = _n_frames(info, spec.fps)
    frame: Tensor | None = None
    with opened(info.path) as container:
        for frame, n_times in _held(container, info, spec.fps, n_frames):
            frame = torch.from_numpy(shrink(frame)).permute(2, 0, 1).contiguous()
            yield from [frame] * n_times
    if frame is None:
        raise MediaError(f"no frame of {info.path} can be decoded; is it damaged?")


def _n_frames(info: VideoInfo, fps: float) -> int:
    return max(1, round(info.duration_s * fps))


def read_audio_track(
    path: str | Path, sample_rate_hz: int, duration_s: float | None = None, start_s: float = 0.0
) -> Tensor | None:
    """The audio track of a file as stereo, float32 ``(2, samples)``; None when there is none.

    More than two channels are mixed down by the usual weights, and one is played on both sides. A mix that would
    exceed full scale is lowered as a whole. Holes of its time stamps are silent.

    Args:
        path: A video or sound file.
        sample_rate_hz: Samples per second wanted.
        duration_s: Length wanted, cut or filled with silence; None for all there is.
        start_s: Where to begin, on the file's own clock (:attr:`prismaudio.media.VideoInfo.start_s` for the moment of
            the first frame); in a file without frames, from the first sample on.

    Raises:
        MediaError: It cannot be read.
    """
    with opened(path) as container:
        if not container.streams.audio:
            return None
        pieces = stereo_pieces(container, audio_stream(container, path), sample_rate_hz, start_s)
        n_samples = None if duration_s is None else round(duration_s * sample_rate_hz)
        sound = np.concatenate([np.zeros((2, 0), np.float32), *_up_to(pieces, n_samples)], axis=1)
    sound /= max(1.0, float(np.abs(sound).max(initial=0.0)))
    return torch.from_numpy(sound)


def _up_to(pieces: Iterable[NDArray[np.float32]], n_samples: int | None) -> Iterator[NDArray[np.float32]]:
    """Pieces ``(2, any)``, cut or filled with silence to a length; None for all there is."""
    n_left = n_samples
    for piece in pieces:
        yield piece[:, :n_left]
        if n_left is not None and (n_left := n_left - piece.shape[1]) <= 0:
            return
    yield np.zeros((2, n_left or 0), np.float32)


def timed_frames(container: InputContainer, info: VideoInfo) -> Iterator[tuple[float, av.VideoFrame]]:
    """Decoded frames in the order of presentation, with their times from the first one in seconds."""
    time_s = -info.frame_s
    for frame in decoded(container, video_stream(container, info.path)):
        if isinstance(frame, av.VideoFrame):
            time_s = frame.time - info.start_s if frame.time is not None else time_s + info.frame_s
            yield time_s, frame


def _held(container: InputContainer, info: VideoInfo, fps: float, n_frames: int) -> Iterator[tuple[av.VideoFrame, int]]:
    """Pairs of a decoded frame and how many frames of the clip show it; they add up to ``n_frames``."""
    nearest_s = 0.5 * min(info.frame_s, 1 / fps) - 1e-6
    shown: av.VideoFrame | None = None
    n_done = 0
    for time_s, frame in timed_frames(container, info):
        n_before = min(n_frames, max(0, int(np.ceil((time_s - nearest_s) * fps))))
        if shown is not None and n_before > n_done:
            yield shown, n_before - n_done
            n_done = n_before
        shown = frame
        if n_done == n_frames:
            return
    if shown is not None:
        yield shown, n_frames - n_done
