"""Detect events in clips of any length with a network for segments of fixed length."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from fractions import Fraction
from typing import TYPE_CHECKING

from prismaudio.inference.segments import Grid, padded
from prismaudio.plan.cropping import crop
from prismaudio.plan.story import Source, Story

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from prismaudio.types import Clip

NEAR_S = 0.12
"""Onsets of two segments within this distance are the same event."""


def detect_events(detect: Callable[[Clip], Story], clip: Clip, segment_s: float) -> Story:
    """Detect the events of a clip of any length.

    A longer clip is split into overlapping segments; the middle of each is used, without events that the other
    segments there do not confirm. A shorter clip is padded with its last frame.

    Args:
        detect: Detects the events of a clip of one segment.
        clip: The clip, with frames.
        segment_s: Length of a segment in seconds.
    """
    fps = Fraction(clip.fps or 1)
    grid = Grid(fps, fps, segment_s)
    starts = grid.starts(clip.duration_s)
    if len(starts) == 1:
        story = detect(padded(clip, segment_s))
        return story if clip.duration_s >= segment_s else crop(story, 0.0, clip.duration_s)
    detected = [(float(start / fps), detect(grid.crop(clip, start))) for start in starts]
    margin_s = (grid.frames - grid.hop) / 2 / float(fps)
    pieces = []
    for index, (start_s, story) in enumerate(detected):
        begin_s = 0.0 if index == 0 else margin_s
        is_last = index + 1 == len(detected)
        end_s = min(clip.duration_s - start_s, segment_s) if is_last else segment_s - margin_s
        others = [other for other in detected if other[0] != start_s]
        until_s = end_s - begin_s - NEAR_S if is_last else end_s  # an onset at the very end is spurious
        piece = confirmed(crop(story, begin_s, end_s), start_s + begin_s, others, segment_s, until_s)
        pieces.append((start_s + begin_s, piece))
    return joint_story(pieces)


def confirmed(
    story: Story,
    begin_s: float,
    others: Sequence[tuple[float, Story]],
    segment_s: float,
    until_s: float = float("inf"),
) -> Story:
    """A piece of a story without the onsets that other segments covering the same time do not contain.

    Args:
        story: The piece.
        begin_s: Start of the piece in the clip.
        others: Start and story of each other segment.
        segment_s: Length of a segment.
        until_s: Time in the piece from which onsets are dropped.

    Example:
        >>> piece = Story((Source("bell", (0.5, 1.5)),))
        >>> confirmed(piece, 1.0, [(0.0, Story((Source("bell", (2.5,)),)))], 4.0).sources[0].onsets_s
        (1.5,)
    """

    def is_confirmed(what: str, time_s: float) -> bool:
        covering = [(time_s - from_s, o) for from_s, o in others if NEAR_S <= time_s - from_s < segment_s - NEAR_S]
        return not covering or any(_is_active(other, what, t) for t, other in covering)

    sources = []
    for source in story.sources:
        onsets = tuple(t for t in source.onsets_s if t < until_s and is_confirmed(source.what, begin_s + t))
        if onsets:
            sources.append(replace(source, onsets_s=onsets))
    return replace(story, sources=tuple(sources))


def _is_active(story: Story, what: str, time_s: float) -> bool:
    """Whether a source has an onset near a time, or is sustained through it."""
    for source in story.sources:
        if source.what == what and source.onsets_s:
            lasts = source.end_s is not None and source.onsets_s[0] - NEAR_S <= time_s <= source.end_s
            if lasts or any(abs(t - time_s) <= NEAR_S for t in source.onsets_s):
                return True
    return False


def joint_story(pieces: Iterable[tuple[float, Story]]) -> Story:
    """Join consecutive pieces, each with its start in seconds, into one story.

    A sustained source that continues from one piece to the next becomes a single event.

    Example:
        >>> engine = Source("engine", (0.0,), 2.0)
        >>> joint_story([(0.0, Story((engine,))), (2.0, Story((engine,)))]).sources[0].end_s
        4.0
    """
    sources: dict[str, Source] = {}
    qualities: Counter[str | None] = Counter()
    rooms: Counter[str | None] = Counter()
    for begin_s, story in pieces:
        qualities[story.quality] += 1
        rooms[story.room] += 1
        for source in story.sources:
            if source.onsets_s:
                later = shift_source(source, begin_s)
                sources[source.what] = merge_sources(sources[source.what], later) if source.what in sources else later
    quality, room = (most.most_common(1)[0][0] if most else None for most in (qualities, rooms))
    return Story(tuple(sources.values()), quality, room)


def shift_source(source: Source, by_s: float) -> Source:
    """A source shifted in time by ``by_s`` seconds."""
    end_s = None if source.end_s is None else round(source.end_s + by_s, 4)
    return replace(source, onsets_s=tuple(round(t + by_s, 4) for t in source.onsets_s), end_s=end_s)


def merge_sources(first: Source, second: Source) -> Source:
    """Merge two sources of the same name; onsets of the second before the end of the first are dropped."""
    begins = [t for t in second.onsets_s if first.end_s is None or t > first.end_s + 0.1]
    end_s = max(first.end_s or 0.0, second.end_s or 0.0) or None
    onsets = tuple(sorted({*first.onsets_s, *begins}))
    if end_s is not None and end_s <= onsets[-1]:
        end_s = None
    sides = [source.azimuth_deg for source in (first, second) if source.azimuth_deg is not None]
    azimuth = (sides[0][0], sides[-1][1]) if sides else None
    return Source(first.what, onsets, end_s, azimuth, first.size or second.size)
