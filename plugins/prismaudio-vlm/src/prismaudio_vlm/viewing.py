"""How a planner watches a clip: in segments, the whole of each at a low rate, moments of change at a high one."""

from __future__ import annotations

import itertools
import math
from bisect import bisect_right
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch.nn.functional import adaptive_avg_pool2d

from prismaudio.audio.resample import resample
from prismaudio.media import probe, read_audio_track, read_frames_at
from prismaudio_vlm.chat import AUDIO_RATE_HZ, View

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from torch import Tensor

    from prismaudio.types import Clip

GRID = 8
"""Number of rows and columns of blocks in which change is measured, so that a small thing that moves counts."""
CUT = 0.2
"""Mean change of all blocks, 0 .. 1, from which two frames are of different shots."""
CHUNK = 512
"""Number of frames whose change is computed at once."""


class Segment(NamedTuple):
    """A part of a clip, in seconds."""

    start_s: float
    end_s: float


class Change(NamedTuple):
    """Change between consecutive frames of a clip.

    Args:
        times_s: Time of the later frame, ``(frames - 1,)``.
        local: Change of the block that changes most, 0 .. 1.
        total: Mean change of all blocks, 0 .. 1.
    """

    times_s: Tensor
    local: Tensor
    total: Tensor

    @classmethod
    def of(cls, clip: Clip) -> Change:
        """Measure the change in the frames of a clip; empty for a clip of one frame or none."""
        if clip.frames is None or clip.fps is None or len(clip.frames) < 2:
            return cls(*(torch.zeros(0) for _ in range(3)))
        blocks = []
        for first in range(0, len(clip.frames) - 1, CHUNK):
            part = clip.frames[first : first + CHUNK + 1].float().mean(1)
            blocks.append(adaptive_avg_pool2d((part[1:] - part[:-1]).abs() / 255, GRID).flatten(1).cpu())
        every = torch.cat(blocks)
        return cls(torch.arange(1, len(clip.frames)) / clip.fps, every.amax(1), every.mean(1))

    @property
    def cuts_s(self) -> list[float]:
        """Times at which a new shot begins."""
        return [float(time_s) for time_s in self.times_s[self.total >= CUT]]


@dataclass(frozen=True)
class Viewing:
    """How a planner watches a clip.

    Args:
        fps: Frames per second of the whole clip.
        moment_fps: Frames per second of the moments of change.
        max_frames: Maximum number of frames of each of both in a segment; of a longer one, the whole has a lower rate.
        moment_s: Length of a moment in seconds.
        frame_size: Maximum of the shorter side of a frame in pixels.
        segment_s: Length in seconds from which a clip is planned in segments, which begin at a new shot if possible.
        max_segments: Maximum number of segments; those of a longer clip are longer.
    """

    fps: float = 2.0
    moment_fps: float = 8.0
    max_frames: int = 32
    moment_s: float = 1.0
    frame_size: int = 336
    segment_s: float = 30.0
    max_segments: int = 16

    def segments(self, duration_s: float, change: Change) -> list[Segment]:
        """Split a clip into segments of about equal length.

        Example:
            >>> from prismaudio.types import Clip
            >>> Viewing(segment_s=2.0).segments(4.0, Change.of(Clip("a", 4.0)))
            [Segment(start_s=0.0, end_s=2.0), Segment(start_s=2.0, end_s=4.0)]
        """
        n_segments = min(self.max_segments, max(1, math.ceil(duration_s / self.segment_s - 1e-6)))
        length_s, cuts_s = duration_s / n_segments, change.cuts_s
        ends_s = []
        for number in range(1, n_segments):
            middle_s = number * length_s
            near = [cut_s for cut_s in cuts_s if abs(cut_s - middle_s) <= length_s / 4]
            ends_s.append(min(near, key=lambda cut_s: abs(cut_s - middle_s)) if near else middle_s)
        bounds = [0.0, *ends_s, duration_s]
        return [Segment(round(a, 2), round(b, 2)) for a, b in itertools.pairwise(bounds)]

    def whole(self, segment: Segment) -> list[float]:
        """Times of the frames that show the whole of a segment.

        Example:
            >>> Viewing(fps=1.0).whole(Segment(2.0, 5.0))
            [2.0, 3.0, 4.0]
        """
        length_s = segment.end_s - segment.start_s
        n_frames = min(max(1, round(length_s * self.fps)), self.max_frames)
        return [segment.start_s + index * length_s / n_frames for index in range(n_frames)]

    def moments(self, segment: Segment, change: Change) -> list[list[float]]:
        """Times of the frames of each moment of change in a segment, in order of time.

        A segment that :attr:`max_frames` covers at the rate of moments is one moment. Of a longer one, the moments are
        around the largest changes; those that adjoin are joined.
        """
        length_s = segment.end_s - segment.start_s
        if length_s * self.moment_fps <= self.max_frames + 1e-6:
            return [self._at_moment_rate(segment.start_s, segment.end_s)]
        inside = (change.times_s >= segment.start_s) & (change.times_s < segment.end_s)
        times_s, values = change.times_s[inside], change.local[inside].clone()
        chosen: list[tuple[float, float]] = []
        while len(chosen) < self.max_frames / (self.moment_fps * self.moment_s) and bool((values > 0).any()):
            middle_s = float(times_s[values.argmax()])
            begin_s = min(max(middle_s - self.moment_s / 2, segment.start_s), segment.end_s - self.moment_s)
            chosen.append((begin_s, begin_s + self.moment_s))
            values[(times_s - middle_s).abs() < self.moment_s] = 0
        joined: list[tuple[float, float]] = []
        for begin_s, end_s in sorted(chosen):
            if joined and begin_s <= joined[-1][1] + 1 / self.moment_fps:
                joined[-1] = (joined[-1][0], end_s)
            else:
                joined.append((begin_s, end_s))
        return [self._at_moment_rate(begin_s, end_s) for begin_s, end_s in joined]

    def _at_moment_rate(self, begin_s: float, end_s: float) -> list[float]:
        n_frames = max(1, round((end_s - begin_s) * self.moment_fps))
        return [begin_s + index / self.moment_fps for index in range(n_frames)]


class Watched:
    """The frames of a clip at the times at which it is watched, decoded once.

    Args:
        clip: The clip; its file is read if it has one, for frames of full size with their true times.
        times_s: All times, in seconds from the start of the clip.
        frame_size: Maximum of the shorter side in pixels.
    """

    def __init__(self, clip: Clip, times_s: Iterable[float], frame_size: int) -> None:
        wanted_s = sorted(set(times_s))
        self._times_s: tuple[float, ...] = ()
        if not wanted_s or clip.frames is None or clip.fps is None:
            self._frames = torch.zeros(0, 3, 1, 1, dtype=torch.uint8)
        elif clip.file is not None:
            self._frames, found_s = read_frames_at(clip.file, [clip.start_s + t for t in wanted_s], frame_size)
            self._times_s = tuple(round(max(time_s - clip.start_s, 0.0), 4) for time_s in found_s)
        else:
            indices = sorted({min(int(t * clip.fps + 1e-4), len(clip.frames) - 1) for t in wanted_s})
            self._frames = clip.frames[indices].cpu()
            self._times_s = tuple(round(index / clip.fps, 4) for index in indices)

    def view(self, times_s: Sequence[float], label: str) -> View:
        """The frames that are shown at some of the times."""
        shown = sorted({max(bisect_right(self._times_s, time_s + 1e-3) - 1, 0) for time_s in times_s})
        return View(self._frames[shown], tuple(self._times_s[index] for index in shown), label)


def audio_of(clip: Clip) -> Tensor | None:
    """The existing audio of a clip for a model that hears: mono at 16 kHz, ``(samples,)``; None if there is none."""
    audio: Tensor | None
    if clip.audio is not None and clip.sample_rate_hz is not None:
        audio = resample(clip.audio.float().cpu(), clip.sample_rate_hz, AUDIO_RATE_HZ)
    elif clip.file is not None:
        audio = read_audio_track(clip.file, AUDIO_RATE_HZ, clip.duration_s, clip.start_s + probe(clip.file).start_s)
    else:
        return None
    return None if audio is None else audio.mean(0)
