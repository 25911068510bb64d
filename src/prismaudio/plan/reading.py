"""Parsing the sections of a plan: which sources sound, when, where, and how the recording sounds.

The parser understands every sentence that :mod:`prismaudio.plan.writing` generates and is tolerant of hand-written
text: it ignores what it does not understand and never raises an error.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from prismaudio.plan.nouns import Nouns, noun_phrases, sizes
from prismaudio.plan.quantities import Value, azimuths, times
from prismaudio.plan.story import Source, Story

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from prismaudio.plan.nouns import Mention

_SENTENCE = re.compile(
    r"(?<=[.;!?])(?:(?<!min\.)(?<!sec\.)(?<!hr\.)(?<!mins\.)(?<!secs\.)|(?!\s*\d))\s+|\n+", re.IGNORECASE
)
_EVERYTHING = re.compile(r"\b(?:all|every\w*|both|sounds?|audio|sources?|it|they|each)\b", re.IGNORECASE)
_NEGATION = re.compile(r"\b(?:no|not|without|hardly|free of|never|little|lacks?|lacking|minimal|nor)\b")
UNNAMED = "sound"
"""Noun of a source with times and no name."""


class _Token(NamedTuple):
    start: int
    noun: str | None
    value: Value | None


def sentences(text: str) -> list[str]:
    """Split a text into sentences and, at semicolons, into their parts."""
    return [s for s in _SENTENCE.split(text) if s.strip()]


def _attach(values: Sequence[Value], named: Sequence[Mention], before: str | None) -> list[tuple[str, Value]]:
    """Pair each value with a noun: the one before it, or the one after it if the sentence begins with a value."""
    tokens = [_Token(m.start, m.noun, None) for m in named]
    tokens = sorted([*tokens, *(_Token(v.start, None, v) for v in values)], key=lambda token: token.start)
    value_first = bool(tokens) and tokens[0].value is not None
    last = None if value_first else before
    waiting: list[Value] = []
    pairs: list[tuple[str, Value]] = []
    for token in tokens:
        if token.value is None:
            last = token.noun or ""
            pairs += [(last, value) for value in waiting]
            waiting = []
        elif value_first or last is None:
            waiting.append(token.value)
        else:
            pairs.append((last, token.value))
    pairs += [(last or before or "", value) for value in waiting]
    return pairs


def _collect(
    text: str, nouns: Nouns, find: Callable[[str], list[Value]], shared: re.Pattern[str] | None = None
) -> dict[str, list[Value]]:
    """Collect the values of each noun; the key is ``""`` without a noun and ``"*"`` for sentences about all sources."""
    found: dict[str, list[Value]] = {}
    before = None
    for sentence in sentences(text):
        values = find(sentence)
        named = nouns.mentions(sentence)
        if shared is not None and not named and shared.search(sentence):
            found.setdefault("*", []).extend(values)
            continue
        for noun, value in _attach(values, named, before):
            found.setdefault(noun, []).append(value)
        before = named[-1].noun if named else before
    return found


def _timing(values: Sequence[Value]) -> tuple[tuple[float, ...], float | None]:
    onsets: list[float] = []
    end = None
    for value in values:
        if value.role == "at":
            onsets.append(value.number)
        elif value.role == "end":
            end = value.number
        elif value.role == "for" and onsets:
            end = round(onsets[-1] + value.number, 4)
    return tuple(sorted(set(onsets))), (end if onsets else None)


def _direction(values: Sequence[Value]) -> tuple[float, float] | None:
    return (values[0].number, values[-1].number) if values else None


def _attribute(text: str, keywords: Mapping[str, tuple[str, str | None]], order: Sequence[str]) -> str | None:
    """Return the first attribute of ``order`` that a keyword matches; a negated keyword may match its opposite."""
    seen = set()
    for clause in re.split(r"[.,;:!?]", text.lower()):
        negation = _NEGATION.search(clause)
        for pattern, (attribute, opposite) in keywords.items():
            for match in re.finditer(pattern, clause):
                negated = negation is not None and negation.start() < match.start()
                seen.add(opposite if negated else attribute)
    return next((attribute for attribute in order if attribute in seen), None)


_QUALITY = {
    r"\bnoisy\b|\bhiss\w*|\bstatic\b|\bgrainy\b|\b(?:background|white) noise\b|\bfull of noise\b": ("noisy", "clean"),
    r"\bclip(?:s|ped|ping)\b(?! (?:starts|begins))|\bdistort\w*|\boverdriv\w*|\boverload\w*": ("clipped", "clean"),
    r"\bmuffl\w*|\bdull\b|\bveiled\b|\bdampened\b|\bthrough a wall\b": ("muffled", "clean"),
    r"\bhighs\b|\btreble\b|\bhigh frequencies\b": ("", "muffled"),
    r"\bclean\w*|\bclear\w*|\bclarity\b|\bcrisp\w*|\bpristine\b|\bundisturbed\b": ("clean", None),
}
_ROOM = {
    r"\bhalls?\b|\bcathedral\b|\bchurch\b|\breverberant\b|\bechoing\b|\bcavern\w*|\blong (?:reverb\w*|echo\w*)": (
        "hall",
        "dry",
    ),
    r"\bdry\b|\banechoic\b|\bdead acoustics\b|\bopen air\b|\boutdoors?\b": ("dry", None),
    r"\brooms?\b|\bchamber\b": ("room", None),
    r"\breverb\w*|\becho\w*": ("room", "dry"),
}


def describes_sound(word: str) -> bool:
    """Return whether a word describes recording quality or room acoustics.

    Example:
        >>> describes_sound("muffled"), describes_sound("purple")
        (True, False)
    """
    return any(re.search(pattern, word) for pattern in (*_QUALITY, *_ROOM))


def _named(texts: Mapping[str, str], nouns: Nouns) -> list[str]:
    """List the sources that the texts name, in order: given nouns anywhere, others where the wording indicates them."""
    semantic, temporal = texts.get("semantic", ""), texts.get("temporal", "")
    known = nouns.more(noun_phrases(semantic, nouns))
    for sentence in sentences(temporal):
        if not known.mentions(sentence) and times(sentence):
            known.add(noun_phrases(sentence, nouns, bare=True))
    return known.named("\n".join((semantic, temporal, texts.get("spatial", ""))))


def read(texts: Mapping[str, str], nouns: Nouns = Nouns()) -> Story:  # noqa: B008  (never modified)
    """Parse section texts to a story.

    Args:
        texts: Section texts by dimension name; the attributes of missing sections stay unset.
        nouns: Known nouns, found wherever they occur; other nouns are found if they follow an article or are next to
            the time of a sound.

    Example:
        >>> read({"temporal": "A dog barks at 0.7s and 2 seconds", "spatial": "The dog is on the left."}).sources
        (Source(what='dog', onsets_s=(0.7, 2.0), end_s=None, azimuth_deg=(-35.0, -35.0), size=None),)
    """
    whats = _named(texts, nouns)
    nouns = nouns.only(whats)
    semantic = texts.get("semantic", "")
    when = _collect(texts.get("temporal", ""), nouns, times) or _collect(semantic, nouns, times)
    where = _collect(texts.get("spatial", ""), nouns, azimuths, _EVERYTHING)
    if not where and "spatial" not in texts:
        where = _collect(semantic, nouns, azimuths)
    if when.get("") and len(whats) != 1:
        whats = [*whats, UNNAMED]
        when[UNNAMED] = when.pop("")
    size = sizes(semantic, nouns.only(whats))
    sources = []
    for what in whats:
        only = len(whats) == 1
        onsets_s, end_s = _timing(when.get(what) or (when.get("", []) if only else []))
        azimuth = _direction(where.get(what) or (where.get("", []) if only else []) or where.get("*", []))
        sources.append(Source(what, onsets_s, end_s, azimuth, size.get(what)))
    aesthetic = texts.get("aesthetic", "")
    quality = _attribute(aesthetic, _QUALITY, ("clipped", "muffled", "noisy", "clean"))
    return Story(tuple(sources), quality, _attribute(aesthetic, _ROOM, ("hall", "dry", "room")))
