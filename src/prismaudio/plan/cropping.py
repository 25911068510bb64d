"""Cropping a story and its text to a segment of the clip."""

from __future__ import annotations

import re
from dataclasses import replace

from prismaudio.plan.nouns import Nouns, clauses
from prismaudio.plan.reading import sentences
from prismaudio.plan.story import Source, Story
from prismaudio.plan.words import COUNTS

_COUNT = re.compile(rf"\b(?:{'|'.join(phrase for phrases in COUNTS.values() for phrase in phrases)}|\d+ times)\b")


def _crop_source(source: Source, start_s: float, end_s: float) -> Source | None:
    if not source.onsets_s:
        return source
    inside = [t - start_s for t in source.onsets_s if start_s <= t < end_s]
    stop = source.end_s
    lasts = stop is not None and source.onsets_s[-1] < end_s and stop > start_s
    if lasts and source.onsets_s[-1] < start_s:
        inside = [0.0]
    if not inside:
        return None
    last = min(stop, end_s) - start_s if lasts and stop is not None else None
    first_deg, last_deg = (source.azimuth_at(start_s + moment_s) for moment_s in (inside[0], last or inside[-1]))
    azimuth = None if first_deg is None or last_deg is None else (first_deg, last_deg)
    times = tuple(round(t, 4) for t in inside)
    return replace(source, onsets_s=times, end_s=None if last is None else round(last, 4), azimuth_deg=azimuth)


def crop(story: Story, start_s: float, end_s: float) -> Story:
    """Crop a story to the segment between two times, with times relative to the start of the segment.

    A sustained sound that began before the segment begins at its start.

    Example:
        >>> crop(Story((Source("car", (1.0,), 3.0), Source("dog", (0.5,)))), 2.0, 4.0).sources
        (Source(what='car', onsets_s=(0.0,), end_s=1.0, azimuth_deg=None, size=None),)
    """
    cropped = (_crop_source(source, start_s, end_s) for source in story.sources)
    return replace(story, sources=tuple(source for source in cropped if source is not None))


def crop_text(text: str, whole: Story, part: Story) -> str:
    """Select the sentences of a semantic section that are about a segment of a clip, with corrected counts.

    Args:
        text: The section.
        whole: The story of the clip.
        part: The story of the segment.

    Example:
        >>> whole = Story((Source("dog", (0.5, 3.0)), Source("car", (1.0,))))
        >>> crop_text("A terrier, a small dog, barks twice. A car passes.", whole, crop(whole, 2.0, 4.0))
        'A terrier, a small dog, barks once.'
    """
    nouns = Nouns(source.what for source in whole.sources)
    here = {source.what: source for source in part.sources}
    kept = []
    for sentence in sentences(text):
        named = nouns.named(sentence)
        if named and not any(what in here for what in named):
            continue
        if all(what in here for what in named):
            kept.append(_numbered(sentence, nouns, whole, here))
            continue
        relevant = [clause for clause in clauses(sentence) if any(what in here for what in nouns.named(clause))]
        kept += [_numbered(clause, nouns, whole, here) for clause in relevant]
    return text if kept == sentences(text) else " ".join(map(_sentence, kept))


def _sentence(text: str) -> str:
    """Format a clause, or the text between two semicolons, as a sentence."""
    whole = text.strip().rstrip(";")
    return f"{whole[0].upper()}{whole[1:]}{'' if whole[-1] in '.!?' else '.'}"


def _numbered(text: str, nouns: Nouns, whole: Story, here: dict[str, Source]) -> str:
    """Replace the count in a text about one source by the number of its onsets in the segment."""
    named = nouns.named(text)
    before, now = ({s.what: len(s.onsets_s) for s in sources} for sources in (whole.sources, here.values()))
    if len(named) != 1 or now[named[0]] == before[named[0]]:
        return text
    n_times = now[named[0]]
    return _COUNT.sub(COUNTS.get(n_times, (f"{n_times} times",))[0], text, count=1)
