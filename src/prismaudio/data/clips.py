"""Clips of a manifest, read from their media files."""

from __future__ import annotations

import functools
import math
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor
from torch.nn.functional import pad

from prismaudio.data.manifest import ManifestEntry
from prismaudio.errors import DataError
from prismaudio.media import probe, read_audio_track, read_clip
from prismaudio.types import Clip, FrameSpec

SHORTEST_S = 0.2


def read_frames(entry: ManifestEntry, spec: FrameSpec) -> Clip | None:
    """The frames of a clip; None when it has no video.

    Args:
        entry: The clip.
        spec: Rate and size of the frames wanted.

    Raises:
        MediaError: The file cannot be read.
        DataError: It ends before the clip begins.
    """
    if entry.video is None:
        return None
    whole = _watched(entry.video, spec)
    length_s = _length_s(entry, whole.duration_s)
    first, n_frames = round(entry.start_s * spec.fps), max(1, round(length_s * spec.fps))
    frames = whole.frames[first : first + n_frames] if whole.frames is not None else None
    return replace(whole, id=entry.id, duration_s=length_s, frames=frames)


def read_audio(entry: ManifestEntry, sample_rate_hz: int, hop: int, duration_s: float | None) -> tuple[Tensor, float]:
    """The sound of a clip in stereo, in whole latent frames, and how long the clip lasts.

    What the file holds beyond the end of the clip fills the last latent frame; what it lacks is silence.

    Args:
        entry: The clip.
        sample_rate_hz: Samples per second wanted.
        hop: Samples of a latent frame.
        duration_s: Length of the clip in seconds; None for that of the sound.

    Returns:
        Audio ``(2, samples)`` and seconds.

    Raises:
        MediaError: The file cannot be read.
        DataError: There is no sound, or it ends before the clip begins.
    """
    path = entry.audio or entry.video
    if path is None:
        raise DataError(f"clip {entry.id} has neither a video nor an audio file to take its sound from")
    begin_s = entry.start_s + (probe(path).start_s if entry.audio is None else 0.0)
    if duration_s is None:
        whole = _heard(path, sample_rate_hz)
        duration_s = _length_s(entry, 0.0 if whole is None else whole.shape[1] / sample_rate_hz)
    n_samples = math.ceil(round(duration_s * sample_rate_hz) / hop) * hop
    rest = read_audio_track(path, sample_rate_hz, start_s=begin_s)
    if rest is None:
        raise DataError(f"{path} has no audio track; there is nothing to learn from clip {entry.id}")
    if not rest.shape[1]:
        raise DataError(f"the sound of {path} ends before clip {entry.id} begins, at {entry.start_s:g} s")
    audio = rest[:, :n_samples]
    if not bool(audio.isfinite().all()):
        first_s = entry.start_s + int((~audio.isfinite()).any(0).nonzero()[0]) / sample_rate_hz
        raise DataError(f"the sound of {path} holds NaN or infinity at {first_s:.2f} s, in clip {entry.id}")
    return pad(audio, (0, n_samples - audio.shape[1])), duration_s


def _length_s(entry: ManifestEntry, available_s: float) -> float:
    """Seconds from the beginning to the end of a clip in a file."""
    end_s = available_s if entry.end_s is None else min(entry.end_s, available_s)
    if end_s - entry.start_s < SHORTEST_S:
        raise DataError(
            f"clip {entry.id} begins at {entry.start_s:g} s of a file that lasts {available_s:.2f} s; "
            f"expected at least {SHORTEST_S} s of it"
        )
    return end_s - entry.start_s


@functools.lru_cache(maxsize=2)
def _watched(path: Path, spec: FrameSpec) -> Clip:
    """A whole video; several clips of one file follow each other in most manifests."""
    return read_clip(path, spec)


@functools.lru_cache(maxsize=1)
def _heard(path: Path, sample_rate_hz: int) -> Tensor | None:
    """A whole sound file."""
    return read_audio_track(path, sample_rate_hz)


def fitted(clip: Clip, duration_s: float) -> Clip:
    """A clip of exactly ``duration_s``: cut at its end, or filled up with its last frame and silence.

    Example:
        >>> clip = fitted(Clip("a", 1.0, audio=torch.ones(2, 10), sample_rate_hz=10), 1.5)
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
