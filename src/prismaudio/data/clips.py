"""Reads clips of a manifest from media files."""

from __future__ import annotations

import functools
import math
import threading
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType

import torch
from torch import Tensor
from torch.nn.functional import pad

from prismaudio.data.manifest import ManifestEntry
from prismaudio.errors import DataError
from prismaudio.media import probe, read_audio_track, read_clips
from prismaudio.types import Clip, FrameSpec

SHORTEST_S = 0.2


def read_frames(entry: ManifestEntry, specs: Iterable[FrameSpec]) -> dict[FrameSpec, Clip]:
    """The frames of a clip at several rates and sizes, decoded once; empty if it has no video.

    Args:
        entry: The clip.
        specs: Frame rates and sizes.

    Raises:
        MediaError: The file cannot be read.
        DataError: The video ends before the clip starts.
    """
    if entry.video is None:
        return {}
    return {spec: _cut(entry, whole) for spec, whole in _read_video(entry.video, tuple(dict.fromkeys(specs))).items()}


def _cut(entry: ManifestEntry, whole: Clip) -> Clip:
    """The frames of a clip from those of its whole video."""
    length_s, fps = _length_s(entry, whole.duration_s), whole.fps or 1.0
    first, n_frames = round(entry.start_s * fps), max(1, round(length_s * fps))
    frames = whole.frames[first : first + n_frames] if whole.frames is not None else None
    return replace(whole, id=entry.id, duration_s=length_s, frames=frames, start_s=entry.start_s)


def read_audio(entry: ManifestEntry, sample_rate_hz: int, hop: int, duration_s: float | None) -> tuple[Tensor, float]:
    """The stereo audio of a clip, a whole number of latent frames long, and the duration of the clip.

    The last latent frame is filled with the audio that follows the clip in the file, then with silence.

    Args:
        entry: The clip.
        sample_rate_hz: Sample rate to resample to.
        hop: Samples per latent frame.
        duration_s: Duration of the clip in seconds; None for that of the audio.

    Returns:
        Audio ``(2, samples)`` and the duration in seconds.

    Raises:
        MediaError: The file cannot be read.
        DataError: There is no audio, or it ends before the clip starts.
    """
    path = entry.audio or entry.video
    if path is None:
        raise DataError(f"clip {entry.id} has neither a video nor an audio file to read audio from")
    begin_s = entry.start_s + (probe(path).start_s if entry.audio is None else 0.0)
    if duration_s is None:
        whole = _read_audio_file(path, sample_rate_hz)
        duration_s = _length_s(entry, 0.0 if whole is None else whole.shape[1] / sample_rate_hz)
    n_samples = math.ceil(round(duration_s * sample_rate_hz) / hop) * hop
    rest = read_audio_track(path, sample_rate_hz, start_s=begin_s)
    if rest is None:
        raise DataError(f"{path} has no audio track; clip {entry.id} cannot be trained on")
    if not rest.shape[1]:
        raise DataError(f"the audio of {path} ends before clip {entry.id} begins, at {entry.start_s:g} s")
    audio = rest[:, :n_samples]
    if not bool(audio.isfinite().all()):
        first_s = entry.start_s + int((~audio.isfinite()).any(0).nonzero()[0]) / sample_rate_hz
        raise DataError(f"the audio of {path} contains NaN or infinity at {first_s:.2f} s, in clip {entry.id}")
    return pad(audio, (0, n_samples - audio.shape[1])), duration_s


def read_whole(
    entry: ManifestEntry, frames: FrameSpec, sample_rate_hz: int, *, needs_audio: bool = True
) -> Clip:  # fmt: skip
    """The frames, if there are any, and the audio of a clip.

    Args:
        entry: The clip.
        frames: Rate and size of the frames.
        sample_rate_hz: Sample rate of the audio.
        needs_audio: Whether a video without an audio track is an error.

    Raises:
        PrismAudioError: They cannot be read, or there is no audio.
    """
    video = read_frames(entry, [frames]).get(frames)
    if video is not None and not needs_audio and not _has_audio(entry):
        return video
    audio, duration_s = read_audio(entry, sample_rate_hz, 1, None if video is None else video.duration_s)
    return replace(video or Clip(entry.id, duration_s), audio=audio, sample_rate_hz=sample_rate_hz)


def _has_audio(entry: ManifestEntry) -> bool:
    return entry.audio is not None or (entry.video is not None and probe(entry.video).has_audio)


def _length_s(entry: ManifestEntry, available_s: float) -> float:
    """Duration of a clip in a file with ``available_s`` seconds."""
    end_s = available_s if entry.end_s is None else min(entry.end_s, available_s)
    if end_s - entry.start_s < SHORTEST_S:
        raise DataError(
            f"clip {entry.id} begins at {entry.start_s:g} s of a file that lasts {available_s:.2f} s; "
            f"expected at least {SHORTEST_S} s of it"
        )
    return end_s - entry.start_s


class _Last(threading.local):
    """The video that a thread read last."""

    key: object = None
    clips: Mapping[FrameSpec, Clip] = MappingProxyType({})


_LAST = _Last()


def _read_video(path: Path, specs: tuple[FrameSpec, ...]) -> Mapping[FrameSpec, Clip]:
    """A whole video, kept until the thread reads another; manifests usually list the clips of a file in sequence."""
    if _LAST.key != (path, specs):
        _LAST.key, _LAST.clips = None, {}
        _LAST.key, _LAST.clips = (path, specs), read_clips(path, specs)
    return _LAST.clips


@functools.lru_cache(maxsize=1)
def _read_audio_file(path: Path, sample_rate_hz: int) -> Tensor | None:
    """The whole audio track of a file."""
    return read_audio_track(path, sample_rate_hz)


def fit_duration(clip: Clip, duration_s: float) -> Clip:
    """Trim a clip to ``duration_s``, or pad it with its last frame and silence.

    Example:
        >>> clip = fit_duration(Clip("a", 1.0, audio=torch.ones(2, 10), sample_rate_hz=10), 1.5)
        >>> clip.duration_s, clip.audio.shape
        (1.5, torch.Size([2, 15]))
    """
    frames, audio = clip.frames, clip.audio
    if frames is not None and clip.fps is not None:
        n_frames = max(1, round(duration_s * clip.fps))
        last = frames[-1:].expand(max(0, n_frames - len(frames)), *frames.shape[1:])
        frames = torch.cat([frames[:n_frames], last])
    if audio is not None and clip.sample_rate_hz is not None:
        n_samples = round(duration_s * clip.sample_rate_hz)
        audio = pad(audio[:, :n_samples], (0, max(0, n_samples - audio.shape[1])))
    return replace(clip, duration_s=duration_s, frames=frames, audio=audio)
