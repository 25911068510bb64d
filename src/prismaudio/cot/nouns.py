"""Finding the things that a text names."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

from prismaudio.cot import words

if TYPE_CHECKING:
    from collections.abc import Sequence

_DETERMINER = re.compile(r"\b(?:an?|the|some|one|two|three|several|another|many|his|her|its|their)\s+", re.IGNORECASE)
_CLAUSE = re.compile(
    r"[,;:!?()\n]+|\.(?!\d)|"
    r"\b(?:and|while|then|plus|or|followed by)\b(?=\s+(?:an?|the|one|two|some|several|another)\b)",
    re.IGNORECASE,
)
_PREPOSITIONS = "with in on at like as by from into without of to for during after before no any"
_NO_NOUNS = """
    and or is are was were be being that which who then again until while between near onto over through against starts
    stops begins ends sounds should must can could will has have having where when followed creating heard playing using
    not only this these once twice times it its their our
"""
_NO_THINGS = """
    sound sounds audio recording recordings sequence clip scene video noise noises series piece core focus sense
    beginning end start moment while break time second seconds floor ground note tone background left right centre
    center middle front side edge
"""
_LEADING = frozenset(_PREPOSITIONS.split())
_STOP = _LEADING | frozenset(_NO_NOUNS.split())
_GENERIC = frozenset(_NO_THINGS.split())
_SIZE_OF = {word: size for size, names in words.SIZES.items() for word in names}
_VERB_NOUNS = ("whistles", "drums", "bells")


class Mention(NamedTuple):
    """Where a noun stands in a text."""

    start: int
    end: int
    noun: str


@lru_cache(maxsize=256)
def _pattern(nouns: tuple[str, ...]) -> re.Pattern[str]:
    longest_first = sorted(nouns, key=len, reverse=True)
    return re.compile(rf"\b({'|'.join(map(re.escape, longest_first))})(?:'s|’s|es|s)?\b", re.IGNORECASE)


def mentions(text: str, nouns: Sequence[str]) -> list[Mention]:
    """Where a text names any of ``nouns``; in *glass marble* it is the marble, in *engine whistles* the engine."""
    if not nouns:
        return []
    found: list[Mention] = []
    for match in _pattern(tuple(nouns)).finditer(text):
        adjoins = bool(found) and re.fullmatch(r"[\s-]+", text[found[-1].end : match.start()]) is not None
        if adjoins and match[0].lower() in _VERB_NOUNS:
            continue
        if adjoins:
            found.pop()
        found.append(Mention(match.start(), match.end(), match[1].lower()))
    return found


def find_nouns(text: str, nouns: Sequence[str]) -> list[str]:
    """Those of ``nouns`` that a text names, in the order of their first mention."""
    return list(dict.fromkeys(mention.noun for mention in mentions(text, nouns)))


def _phrase(text: str) -> str | None:
    taken: list[str] = []
    for word in re.findall(r"[^\W\d_][\w'’-]*|\S", text.lower()):
        if word == "of" and taken and taken[-1] in _GENERIC:
            taken = []
            continue
        if word in _STOP or not word[0].isalpha() or (taken and re.search(r"(?:ing|ly)$", word)):
            break
        if word not in _SIZE_OF and word not in ("a", "an", "the"):
            taken.append(word)
    if len(taken) > 1 and re.search(r"(?:[^s]s|ing|ed)$", taken[-1]):
        taken.pop()
    if not taken or taken[-1] in _GENERIC:
        return None
    return " ".join(taken[-3:])


def noun_phrases(text: str) -> list[str]:
    """Noun phrases that are none of our own classes, at most one for each clause.

    Example:
        >>> noun_phrases("A small dog barks twice and a car door slams.")
        ['dog', 'car door']
    """
    found = []
    for clause in _CLAUSE.split(text):
        clause_words = clause.lower().split()
        if not clause_words or clause_words[0] in _LEADING or find_nouns(clause, words.CLASSES):
            continue
        determiner = _DETERMINER.search(clause)
        phrase = _phrase(clause[determiner.end() :] if determiner else "")
        if phrase:
            found.append(phrase)
    return list(dict.fromkeys(found))


def size_before(text: str, noun: str, nouns: Sequence[str]) -> str | None:
    """The size that an adjective gives to ``noun``, looking back from each of its mentions."""
    for mention in mentions(text, nouns):
        if mention.noun != noun:
            continue
        clause = re.split(r"[,;:!?()\n]|\.(?!\d)", text[: mention.start])[-1].lower()
        for word in reversed(clause.split()[-4:]):
            if word in _SIZE_OF:
                return _SIZE_OF[word]
            if word in ("a", "an", "the", "and", "or", "with"):
                break
    return None
