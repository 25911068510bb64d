"""What a clip shows: shots, motion over time and across the frame, and what is recognised in each shot."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import islice, pairwise
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn.functional import avg_pool1d, avg_pool2d, cosine_similarity, interpolate, max_pool1d

from prismaudio.audio.motion import change_peaks
from prismaudio.errors import MediaError
from prismaudio.media import probe
from prismaudio.media.reading import clip_frames, read_frames_at
from prismaudio.types import Clip, FrameSpec
from prismaudio_footage.families import RULES, families
from prismaudio_footage.network import SIZE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from prismaudio_footage.network import EfficientNetLite2

SMALL = 24
"""Shorter side in pixels of the frames in which motion is measured."""
MIN_SIZE = 128
"""Shorter side in pixels to which smaller frames are enlarged for the recogniser."""
MAX_FPS = 30.0
MAX_S = 1800.0
"""Seconds of a video that are watched; the rest is not planned."""
MIN_SHOT_S = 0.5
MAX_FRAMES = 48
"""Frames that are recognised in all shots together."""
CUT_CHANGE, CUT_LIKENESS, CUT_CONTRAST, CUT_REACH = 0.08, 0.6, 2.5, 3
"""A cut: the mean change of brightness (of 1) and the correlation of two frames, and by what factor the change exceeds
those of the frames around it."""
SURE_PEAK = 0.3
"""Weight of a change above which it is an onset, see :func:`prismaudio.audio.motion.change_peaks`."""
MIN_PERIODICITY = 0.35
"""Autocorrelation of the motion at a lag of 0.25 to 1 s from which on it is periodic; half of it at twice the lag."""
DARK = 12.0
"""Brightness, 0 .. 255, of the brightest cell of a frame below which it is black."""
COLUMNS = 16
"""Columns of the frame in which families are located."""
MIN_MOTION = 0.004
"""Mean change of brightness (of 1) of the cells that change most, below which a shot is still."""


@dataclass(frozen=True, eq=False)
class Motion:
    """Motion of a clip.

    Args:
        fps: Frames per second.
        change: Change of brightness from each frame to the next, 0 .. 1, ``(frames - 1, columns)``.
        strength: Change of the cells that change most, 0 .. 1, ``(frames - 1,)``.
        peaks_s: Times of sudden changes in seconds, ascending.
        cuts_s: Times at which a new shot begins, ascending.
        is_black: Whether no frame shows anything.
    """

    fps: float
    change: Tensor
    strength: Tensor
    peaks_s: tuple[float, ...]
    cuts_s: tuple[float, ...]
    is_black: bool

    def part(self, begin_s: float, end_s: float) -> slice:
        """Rows of the changes between two times."""
        return slice(max(0, round(begin_s * self.fps)), max(0, round(end_s * self.fps)))

    def moves(self, begin_s: float, end_s: float) -> bool:
        """Whether anything moves between two times."""
        within = self.strength[self.part(begin_s, end_s)]
        return bool(len(within)) and float(within.mean()) >= MIN_MOTION


@dataclass(frozen=True, eq=False)
class Sight:
    """What a shot shows.

    Args:
        begin_s: Start of the shot.
        end_s: End of the shot.
        scores: Score of each family, highest first: mean probability over the frames, corrected for chance.
        columns: Per family, its share of each column of each frame ``(frames, columns)``.
        times_s: Times of those frames.
    """

    begin_s: float
    end_s: float
    scores: dict[str, float]
    columns: dict[str, Tensor]
    times_s: Tensor


def small_frames(clip: Clip) -> Clip:
    """The clip with frames of 24 pixels at the rate of its file, at most 30 a second, or those that it has.

    Raises:
        MediaError: It has neither a file nor frames.
    """
    if clip.file is not None:
        info = probe(clip.file)
        fps = min(MAX_FPS, 1 / info.frame_s if info.frame_s > 0 else 1.0)
        first = round(clip.start_s * fps)
        n_frames = max(1, round(min(clip.duration_s, MAX_S) * fps))
        read = clip_frames(info, FrameSpec(fps, SMALL, keep_aspect_ratio=True))
        shown = [*islice(read, first, first + n_frames)]
        if not shown:
            raise MediaError(f"{clip.file} has no frame at {clip.start_s:.2f} s; it lasts {info.duration_s:.2f} s")
        return replace(clip, frames=torch.stack(shown), fps=fps)
    frames, fps = _of_memory(clip)
    frames = frames[: max(1, round(MAX_S * fps))]
    step = max(1, min(frames.shape[-2:]) // SMALL)
    return replace(clip, frames=avg_pool2d(frames.float(), step, ceil_mode=True).round().to(torch.uint8))


def _of_memory(clip: Clip) -> tuple[Tensor, float]:
    """The frames of a clip, and their rate.

    Raises:
        MediaError: It has none.
    """
    if clip.frames is None or clip.fps is None:
        raise MediaError(f"clip {clip.id} has no frames to plan from; give a plan or a prompt")
    return clip.frames, clip.fps


def watch_motion(clip: Clip) -> Motion:
    """Measure the motion of small frames and find the cuts."""
    frames, fps = _of_memory(clip)
    light = frames.float().mean(1) / 255
    is_black = bool(frames.amax() < DARK)
    if len(frames) < 2:
        return Motion(fps, light.new_zeros(0, light.shape[-1]), light.new_zeros(0), (), (), is_black)
    change = light.diff(dim=0).abs()
    cuts = _cuts(light)
    at_cut = torch.zeros(len(change), dtype=torch.bool)
    at_cut[cuts] = True
    change[at_cut] = 0
    strength = change.flatten(1)
    strength = strength.topk(max(1, strength.shape[1] // 16), 1).values.mean(1)  # of the cells that change most
    peaks: list[float] = []
    starts = [0, *(cut + 1 for cut in cuts), len(frames)]
    for first, last in pairwise(starts):  # a cut is no motion
        times_s, weights = change_peaks(frames[first:last], fps)
        moves = strength[first : last - 1]
        if len(moves) and float(moves.mean()) >= MIN_MOTION:
            peaks += [first / fps + t for t in times_s[weights >= SURE_PEAK].tolist()]
    cuts_s = tuple(round((cut + 1) / fps, 4) for cut in cuts)
    return Motion(fps, change.mean(1), strength, tuple(peaks), cuts_s, is_black)


def _cuts(light: Tensor) -> list[int]:
    """Indices of the changes between two shots, of frames in grey ``(frames, height, width)``."""
    change = light.diff(dim=0).abs().mean((1, 2))
    flat = light.flatten(1) - light.mean((1, 2))[:, None]
    likeness = cosine_similarity(flat[1:], flat[:-1], dim=1)
    found: list[int] = []
    for index in torch.nonzero((change >= CUT_CHANGE) & (likeness <= CUT_LIKENESS)).flatten().tolist():
        around = torch.cat([change[max(0, index - CUT_REACH) : index], change[index + 1 : index + 1 + CUT_REACH]])
        calm = float(around.max()) if len(around) else 0.0
        if float(change[index]) >= CUT_CONTRAST * calm:
            found.append(index)
    return found


def shots(motion: Motion, duration_s: float) -> list[tuple[float, float]]:
    """Begin and end of each shot in seconds; one shorter than 0.5 s belongs to the one before."""
    begins = [0.0]
    for cut_s in motion.cuts_s:
        if cut_s - begins[-1] >= MIN_SHOT_S and duration_s - cut_s >= MIN_SHOT_S:
            begins.append(cut_s)
    return list(zip(begins, [*begins[1:], duration_s], strict=True))


def period_s(motion: Motion, begin_s: float, end_s: float) -> float | None:
    """The time after which the motion of a shot repeats, 0.25 to 1 s; None if it does not."""
    curve = motion.strength[motion.part(begin_s, end_s)]
    least, most = max(2, round(0.25 * motion.fps)), round(motion.fps)
    if len(curve) < 3 * most or most <= least:
        return None
    smooth = _mean(curve, 3)
    rest = smooth - _mean(smooth, 2 * most + 1)
    power = float(rest.square().sum())
    if power <= 1e-12:
        return None
    lags = torch.tensor([float((rest[lag:] * rest[:-lag]).sum()) / power for lag in range(1, 2 * most + 1)])
    best = least - 1 + int(lags[least - 1 : most].argmax())
    again = lags[2 * best : 2 * best + 3].max()  # twice the period, within a frame
    is_clear = lags[best] >= MIN_PERIODICITY and again >= 0.5 * MIN_PERIODICITY and lags[:best].min() < lags[best]
    return (best + 1) / motion.fps if bool(is_clear) else None


def _mean(curve: Tensor, width: int) -> Tensor:
    return avg_pool1d(curve[None, None], width, 1, width // 2, count_include_pad=False)[0, 0]


def peaks_s(motion: Motion, begin_s: float, end_s: float) -> list[float]:
    """Times at which something in a shot may strike: each period of a periodic motion, else its sudden changes.

    Args:
        motion: The motion of the clip.
        begin_s: Start of the shot.
        end_s: End of the shot.
    """
    every_s = period_s(motion, begin_s, end_s)
    if every_s is None:
        return [t for t in motion.peaks_s if begin_s <= t < end_s]
    curve = motion.strength[motion.part(begin_s, end_s)]
    reach = max(1, round(0.4 * every_s * motion.fps))
    highest = max_pool1d(curve[None, None], 2 * reach + 1, 1, reach)[0, 0]
    found = torch.nonzero((curve == highest) & (curve >= 0.5 * curve.quantile(0.95))).flatten()
    kept: list[float] = []
    for index in found.tolist():
        time_s = begin_s + (index + 1) / motion.fps
        if not kept or time_s - kept[-1] >= 0.6 * every_s:
            kept.append(time_s)
    return kept


@torch.no_grad()
def recognise(network: EfficientNetLite2, clip: Clip, motion: Motion, n_frames: int) -> list[Sight]:
    """Recognise the families in each shot of a clip.

    Args:
        network: The recogniser.
        clip: The clip, with a file or frames.
        motion: Its motion.
        n_frames: Number of frames that vote, spread evenly over a clip; each shot has at least two.
    """
    spans = shots(motion, min(clip.duration_s, MAX_S))
    times_s: list[float] = []
    whole_s = spans[-1][1] or 1.0
    each = min(MAX_FRAMES, max(n_frames, 2 * len(spans)))
    for begin_s, end_s in spans:
        n = max(2, round(each * (end_s - begin_s) / whole_s))
        times_s += [begin_s + (end_s - begin_s) * (i + 0.5) / n for i in range(n)]
    times_s = times_s[:: -(-len(times_s) // (2 * MAX_FRAMES))]
    frames, shown_s = _frames_at(clip, times_s)
    seen = [_look(network, frame) for frame in frames]
    sights = []
    for begin_s, end_s in spans:
        inside = [i for i, t in enumerate(shown_s) if begin_s - 1e-6 <= t < end_s] or [
            min(range(len(shown_s)), key=lambda i: abs(shown_s[i] - (begin_s + end_s) / 2))
        ]
        names = list(seen[0][0])
        votes = {name: sum(seen[i][0][name] for i in inside) / len(inside) for name in names}
        columns = {name: torch.stack([seen[i][1][name] for i in inside]) for name in names}
        if period_s(motion, begin_s, end_s) is not None:
            votes, columns = _concluded(votes, columns)
        scores = dict(sorted(votes.items(), key=lambda item: -item[1]))
        sights.append(Sight(begin_s, end_s, scores, columns, torch.tensor([shown_s[i] for i in inside])))
    return sights


def _concluded(votes: dict[str, float], columns: dict[str, Tensor]) -> tuple[dict[str, float], dict[str, Tensor]]:
    """Scores after the rules for periodic motion."""
    votes, columns = dict(votes), dict(columns)
    for rule in RULES:
        score = sum(max(votes.get(cue, 0.0), 0.0) for cue in rule.cues)
        if rule.is_periodic and score > votes.get(rule.family, 0.0):
            votes[rule.family] = min(score, 1.0)
            columns[rule.family] = torch.stack([columns[cue] for cue in rule.cues]).sum(0)
    return votes, columns


def _frames_at(clip: Clip, times_s: Sequence[float]) -> tuple[list[Tensor], list[float]]:
    """Frames ``(3, height, width)`` whose shorter side is 128 to 260 pixels, and their times in the clip."""
    if clip.file is not None:
        found, found_s = read_frames_at(clip.file, [clip.start_s + t for t in times_s], SIZE)
        shown_s = [t - clip.start_s for t in found_s]
    else:
        frames, fps = _of_memory(clip)
        rows = sorted({min(int(t * fps), len(frames) - 1) for t in times_s})
        found, shown_s = frames[rows], [row / fps for row in rows]
    side = min(found.shape[-2:])
    scale = min(max(side, MIN_SIZE), SIZE) / side
    if scale != 1:
        size = [min(round(scale * length), 3 * SIZE) for length in found.shape[-2:]]
        return [interpolate(one[None].float(), size, mode="bilinear")[0] for one in found], shown_s
    return list(found), shown_s


def _look(network: EfficientNetLite2, frame: Tensor) -> tuple[dict[str, float], dict[str, Tensor]]:
    """Score of each family in a frame, and its share of each of 16 columns."""
    logits, by_column = network.see(frame[None])
    whole, across = logits[0].softmax(-1), by_column[0].softmax(-1)
    scores, columns = {}, {}
    for family in families().values():
        if family.classes:
            rows = list(family.classes)
            chance = len(rows) / len(whole)
            scores[family.name] = (float(whole[rows].sum()) - chance) / (1 - chance)
            share = across[:, rows].sum(1)
            columns[family.name] = interpolate(share[None, None], COLUMNS, mode="linear")[0, 0]
    return scores, columns
