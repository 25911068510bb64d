"""Edits of a story with a single source: what a person changes in a plan, and then listens for."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from prismaudio_studio.words import CLASSES, LASTING

if TYPE_CHECKING:
    import random

    from prismaudio.plan.story import Source, Story

SHIFT_S = 0.5
EDITS = ("edit_class", "edit_time", "edit_side")
MIN_AZIMUTH_DEG = 15.0


def edit(name: str, story: Story, duration_s: float, rng: random.Random) -> Story | None:
    """The story after one edit of its first source, with no other source left.

    Args:
        name: ``"edit_class"``: another class that sounds in the same way, struck or lasting; ``"edit_time"``: all
            moments half a second later or earlier; ``"edit_side"``: left and right exchanged.
        story: The story as it was.
        duration_s: Duration of the clip in seconds; a shift stays inside.
        rng: Picks the class and the direction of the shift.

    Returns:
        The edited story; None when this edit makes no sense here.

    Example:
        >>> import random
        >>> from prismaudio.plan.story import Source, Story
        >>> edit("edit_time", Story((Source("bell", (0.2,)),)), 4.0, random.Random(0)).sources[0].onsets_s
        (0.7,)
    """
    if not story.sources or not story.sources[0].onsets_s:
        return None
    source = story.sources[0]
    if name == "edit_class":
        alike = [what for what in CLASSES if what != source.what and (what in LASTING) == (source.end_s is not None)]
        edited: Source | None = replace(source, what=rng.choice(alike))
    elif name == "edit_time":
        edited = _shifted(source, duration_s, rng)
    else:
        edited = _mirrored(source)
    return None if edited is None else replace(story, sources=(edited,))


def _shifted(source: Source, duration_s: float, rng: random.Random) -> Source | None:
    room = [
        shift_s
        for shift_s in (SHIFT_S, -SHIFT_S)
        if source.onsets_s[0] + shift_s >= 0.1 and source.last_s + shift_s <= duration_s - 0.1
    ]
    if not room:
        return None
    shift_s = rng.choice(room)
    end_s = None if source.end_s is None else round(source.end_s + shift_s, 4)
    return replace(source, onsets_s=tuple(round(t + shift_s, 4) for t in source.onsets_s), end_s=end_s)


def _mirrored(source: Source) -> Source | None:
    if source.azimuth_deg is None or abs(sum(source.azimuth_deg) / 2) < MIN_AZIMUTH_DEG:
        return None
    return replace(source, azimuth_deg=(-source.azimuth_deg[0], -source.azimuth_deg[1]))
