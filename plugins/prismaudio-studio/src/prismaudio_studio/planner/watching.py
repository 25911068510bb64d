"""Watching clips of any length with a network that knows clips of one length."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from fractions import Fraction
from typing import TYPE_CHECKING

from prismaudio.inference.segments import Grid, padded
from prismaudio.plan.story import Source, Story
from prismaudio.plan.window import crop

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from prismaudio.types import Clip

NEAR_S = 0.12
"""Two windows that see an onset this near each other see the same one."""


def watch(see: Callable[[Clip], Story], clip: Clip, segment_s: float) -> Story:
    """What happens in a clip of any length.

    A clip that is longer than a window is watched in overlapping windows. Each counts where it is in the middle, for
    what another window sees as well; a shorter clip is watched with its last frame held.

    Args:
        see: What happens in a clip of one window.
        clip: The clip, with frames.
        segment_s: Length of a window in seconds.
    """
    fps = Fraction(clip.fps or 1)
    grid = Grid(fps, fps, segment_s)
    starts = grid.starts(clip.duration_s)
    if len(starts) == 1:
        story = see(padded(clip, segment_s))
        return story if clip.duration_s >= segment_s else crop(story, 0.0, clip.duration_s)
    seen = [(float(start / fps), see(grid.crop(clip, start))) for start in starts]
    margin_s = (grid.frames - grid.hop) / 2 / float(fps)
    pieces = []
    for index, (start_s, story) in enumerate(seen):
        begin_s = 0.0 if index == 0 else margin_s
        is_last = index + 1 == len(seen)
        end_s = min(clip.duration_s - start_s, segment_s) if is_last else segment_s - margin_s
        others = [other for other in seen if other[0] != start_s]
        until_s = end_s - begin_s - NEAR_S if is_last else end_s  # what begins at the very end is no sound
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
    """A piece of a story without what the other windows that cover the same moment do not see.

    Args:
        story: The piece.
        begin_s: When it begins.
        others: The other windows: when each begins, and its story.
        segment_s: How long a window is.
        until_s: Second of the piece after which nothing begins.

    Example:
        >>> piece = Story((Source("bell", (0.5, 1.5)),))
        >>> confirmed(piece, 1.0, [(0.0, Story((Source("bell", (2.5,)),)))], 4.0).sources[0].onsets_s
        (1.5,)
    """

    def is_seen(what: str, time_s: float) -> bool:
        there = [(time_s - from_s, o) for from_s, o in others if NEAR_S <= time_s - from_s < segment_s - NEAR_S]
        return not there or any(_sounds(other, what, t) for t, other in there)

    sources = []
    for source in story.sources:
        onsets = tuple(t for t in source.onsets_s if t < until_s and is_seen(source.what, begin_s + t))
        if onsets:
            sources.append(replace(source, onsets_s=onsets))
    return replace(story, sources=tuple(sources))


def _sounds(story: Story, what: str, time_s: float) -> bool:
    """Whether a thing begins near a moment, or lasts through it."""
    for source in story.sources:
        if source.what == what and source.onsets_s:
            lasts = source.end_s is not None and source.onsets_s[0] - NEAR_S <= time_s <= source.end_s
            if lasts or any(abs(t - time_s) <= NEAR_S for t in source.onsets_s):
                return True
    return False


def joint_story(pieces: Iterable[tuple[float, Story]]) -> Story:
    """One story of consecutive pieces, each with the second at which it begins.

    A thing that lasts is told once where it goes on from one piece to the next.

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
                later = moved(source, begin_s)
                sources[source.what] = merged(sources[source.what], later) if source.what in sources else later
    quality, room = (most.most_common(1)[0][0] if most else None for most in (qualities, rooms))
    return Story(tuple(sources.values()), quality, room)


def moved(source: Source, by_s: float) -> Source:
    """The same source, later."""
    end_s = None if source.end_s is None else round(source.end_s + by_s, 4)
    return replace(source, onsets_s=tuple(round(t + by_s, 4) for t in source.onsets_s), end_s=end_s)


def merged(first: Source, second: Source) -> Source:
    """Two sources of one name as one.

    What of the second begins while the first still lasts is the first going on.
    """
    begins = [t for t in second.onsets_s if first.end_s is None or t > first.end_s + 0.1]
    end_s = max(first.end_s or 0.0, second.end_s or 0.0) or None
    onsets = tuple(sorted({*first.onsets_s, *begins}))
    if end_s is not None and end_s <= onsets[-1]:
        end_s = None
    sides = [source.azimuth_deg for source in (first, second) if source.azimuth_deg is not None]
    azimuth = (sides[0][0], sides[-1][1]) if sides else None
    return Source(first.what, onsets, end_s, azimuth, first.size or second.size)
