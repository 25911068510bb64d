"""What happens in a window of a clip."""

from __future__ import annotations

from dataclasses import replace

from prismaudio.plan.story import Source, Story


def _azimuth_at(source: Source, time_s: float) -> float:
    first, last = source.azimuth_deg or (0.0, 0.0)
    begin = source.onsets_s[0]
    end = source.end_s if source.end_s is not None else source.onsets_s[-1]
    share = 0.0 if end <= begin else min(max((time_s - begin) / (end - begin), 0.0), 1.0)
    return first + share * (last - first)


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
    azimuth = source.azimuth_deg
    if azimuth is not None:
        azimuth = (_azimuth_at(source, start_s + inside[0]), _azimuth_at(source, start_s + (last or inside[-1])))
    times = tuple(round(t, 4) for t in inside)
    return replace(source, onsets_s=times, end_s=None if last is None else round(last, 4), azimuth_deg=azimuth)


def crop(story: Story, start_s: float, end_s: float) -> Story:
    """The part of a story between two times, told from the first of them.

    A lasting sound that began before the window begins with the window.

    Example:
        >>> crop(Story((Source("engine", (1.0,), 3.0), Source("bell", (0.5,)))), 2.0, 4.0).sources
        (Source(what='engine', onsets_s=(0.0,), end_s=1.0, azimuth_deg=None, size=None),)
    """
    cropped = (_crop_source(source, start_s, end_s) for source in story.sources)
    return replace(story, sources=tuple(source for source in cropped if source is not None))
