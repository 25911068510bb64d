"""Generates the four core sections from a story; :mod:`prismaudio.plan.reading` can parse all of the text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING

from prismaudio.plan import words

if TYPE_CHECKING:
    import random

    from prismaudio.plan.story import Source, Story

Forms = Mapping[str, Sequence[str]]


def _pick(rng: random.Random | None, options: Sequence[str]) -> str:
    return options[0] if rng is None else rng.choice(options)


def _sentence(text: str) -> str:
    return text[0].upper() + text[1:] + "."


def _listed(items: Sequence[str]) -> str:
    return items[0] if len(items) == 1 else f"{', '.join(items[:-1])} and {items[-1]}"


def _article(phrase: str) -> str:
    return f"an {phrase}" if phrase[0] in "aeiou" else f"a {phrase}"


def _count(source: Source, rng: random.Random | None) -> str:
    n = len(source.onsets_s)
    if n == 0:
        return ""
    if source.end_s is not None and n == 1:
        return _pick(rng, ("for a while", "without a break", "steadily"))
    return _pick(rng, words.COUNTS.get(n, (f"{n} times",)))


def _semantic(story: Story, rng: random.Random | None, verbs: Forms, timbres: Forms) -> str:
    if not story.sources:
        return _pick(rng, ("Nothing sounds.", "Silence."))
    phrases = []
    for source in story.sources:
        size = f"{_pick(rng, words.SIZES[source.size])} " if source.size in words.SIZES else ""
        verb = _pick(rng, verbs.get(source.what, words.GENERIC_VERBS))
        timbre = _pick(rng, ("", *timbres.get(source.what, ())))
        parts = (_article(f"{size}{source.what}"), verb, _count(source, rng), timbre)
        phrases.append(" ".join(part for part in parts if part))
    joint = _pick(rng, (". ", "; ", ", and "))
    if joint == ". ":
        return " ".join(map(_sentence, phrases))
    return _sentence(joint.join(phrases))


def _time(time_s: float) -> str:
    return f"{time_s:.2f} s"


def _span(source: Source, rng: random.Random | None) -> str:
    begin, end = _time(source.onsets_s[-1]), _time(source.end_s or 0.0)
    forms = ("from {} to {}", "from {} until {}", "between {} and {}")
    return _pick(rng, forms).format(begin, end)


def _by_source(source: Source, rng: random.Random | None) -> str:
    struck = [_time(t) for t in source.onsets_s]
    subject = f"the {source.what} {_pick(rng, ('sounds', 'is heard', 'can be heard'))} "
    if source.end_s is not None:
        if len(struck) == 1 and rng is not None and rng.random() < 0.3:
            return f"the {source.what} starts at {struck[0]} and stops at {_time(source.end_s)}"
        before = f"at {_listed(struck[:-1])} and " if struck[:-1] else ""
        return subject + before + _span(source, rng)
    if len(struck) > 1 and rng is not None and rng.random() < 0.3:
        return f"{subject}at {struck[0]}, then at {_listed(struck[1:])}"
    return f"{subject}at {_listed(struck)}"


def _by_time(story: Story, rng: random.Random) -> str:
    moments = []
    for source in story.sources:
        times = source.onsets_s if source.end_s is None else source.onsets_s[:-1]
        moments += [(t, f"at {_time(t)}", source.what) for t in times]
        if source.end_s is not None:
            moments.append((source.onsets_s[-1], _span(source, rng), source.what))
    moments.sort(key=lambda moment: moment[0])
    if rng.random() < 0.5:
        text = ", then ".join(f"the {what} {when}" for _, when, what in moments)
    else:
        text = ", ".join(f"{when} the {what}" for _, when, what in moments)
    return _sentence(text)


def _temporal(story: Story, rng: random.Random | None) -> str:
    timed = [source for source in story.sources if source.onsets_s]
    if not timed:
        return "" if story.sources else "Nothing happens."
    if rng is not None and len(timed) > 1 and rng.random() < 0.4:
        return _by_time(type(story)(tuple(timed)), rng)
    phrases = [_by_source(source, rng) for source in timed]
    if _pick(rng, (". ", "; ")) == "; ":
        return _sentence("; ".join(phrases))
    return " ".join(map(_sentence, phrases))


def _aesthetic(story: Story, rng: random.Random | None) -> str:
    phrases = []
    if story.quality in words.QUALITIES:
        phrases.append(_pick(rng, words.QUALITIES[story.quality]))
    if story.room in words.ROOMS:
        phrases.append(_pick(rng, words.ROOMS[story.room]))
    if rng is not None and rng.random() < 0.5:
        phrases.reverse()
    return " ".join(map(_sentence, phrases))


def _azimuth(degrees: int) -> str:
    return f"(azimuth {degrees:+d}°)" if degrees else "(azimuth 0°)"


def _direction(degrees: int) -> tuple[Sequence[str], Sequence[str]]:
    return next((places, ends) for bound, places, ends in words.DIRECTIONS if degrees >= bound)


def _place(source: Source, rng: random.Random | None) -> str:
    first, last = (round(a) for a in source.azimuth_deg or (0, 0))
    if first == last:
        place = f"{_pick(rng, _direction(first)[0])} {_azimuth(first)}"
        forms = ("the {0} is {1}", "the {0} sounds {1}", "{1} is the {0}", "the {0} stays {1}")
        return _pick(rng, forms).format(source.what, place)
    verb = _pick(rng, ("moves", "travels", "passes"))
    begin = f"{_pick(rng, _direction(first)[1])} {_azimuth(first)}"
    end = f"{_pick(rng, _direction(last)[1])} {_azimuth(last)}"
    return f"the {source.what} {verb} from {begin} to {end}"


def _spatial(story: Story, rng: random.Random | None) -> str:
    return " ".join(_sentence(_place(s, rng)) for s in story.sources if s.azimuth_deg is not None)


def describe(
    story: Story,
    rng: random.Random | None = None,
    verbs: Forms = MappingProxyType({}),
    timbres: Forms = MappingProxyType({}),
) -> dict[str, str]:
    """Generate the texts of the core sections; sections without content are omitted.

    Args:
        story: The events and attributes; attributes that are None are left out of the text.
        rng: Selects words and sentence forms at random; None for the canonical ones.
        verbs: Verb phrases of a source, by noun; the default is *is heard*.
        timbres: Descriptions of the timbre of a source, by noun.

    Returns:
        Texts by dimension name; :func:`prismaudio.plan.reading.read` restores the story, with times rounded to 0.01 s
        and azimuths to 1°.

    Example:
        >>> from prismaudio.plan.story import Source, Story
        >>> texts = describe(Story((Source("dog", (0.66, 1.2), None, (24, 24), "small"),), "clean", "dry"))
        >>> print(" ".join(texts.values()))
        A small dog is heard twice. The dog sounds at 0.66 s and 1.20 s. \
A clean recording. Dry acoustics. The dog is on the right (azimuth +24°).
    """
    texts = {
        "semantic": _semantic(story, rng, verbs, timbres),
        "temporal": _temporal(story, rng),
        "aesthetic": _aesthetic(story, rng),
        "spatial": _spatial(story, rng),
    }
    return {name: text for name, text in texts.items() if text}
