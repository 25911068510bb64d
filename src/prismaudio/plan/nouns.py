"""Finding the sound sources that a text names."""

from __future__ import annotations

import re
from bisect import insort
from typing import TYPE_CHECKING, NamedTuple

from prismaudio.plan import words

if TYPE_CHECKING:
    from collections.abc import Iterable

_DETERMINERS = (
    "an", "a", "the", "some", "one", "two", "three", "several", "another", "many", "his", "her", "its", "their"
)  # fmt: skip
_DETERMINER = re.compile(rf"\b(?:{'|'.join(_DETERMINERS)})\s+", re.IGNORECASE)
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
_PLURAL = frozenset(("some", "two", "three", "several", "many"))
"""Determiners after which a noun that ends in s is a plural, not a verb."""
_NO_PART = re.compile(r"(?:ing|ly|ed)$|^(?:one|two|three|four|five|six|seven|eight|nine|ten|several)$")
_INFLECTED = re.compile(r"[^s]s$")
_SIZE_OF = {word: size for size, names in words.SIZES.items() for word in names}
COMMON_WORDS = frozenset((*_STOP, *_GENERIC, *_DETERMINERS))
"""Words that do not name a sound source."""
_WORD = re.compile(r"\b[^\W\d_]")
_ENDING = re.compile(r"(?:'s|’s|es|s)?\b")
_JOINT = re.compile(r"[\s-]+")
_BREAK = re.compile(r"[,;:!?()\n]|\.(?!\d)")
MAX_NOUN_LENGTH = 80
"""Maximum length of a noun phrase in characters."""
LOOK_BACK = 160
"""Number of characters before a noun that are searched for its adjectives."""


class Mention(NamedTuple):
    """Position of a noun in a text."""

    start: int
    end: int
    noun: str


class Nouns:
    """A set of nouns to search texts for; the search time does not depend on the number of nouns.

    Args:
        nouns: The nouns; each begins with a letter and may consist of several words.
        verbs: Inflected forms of these nouns that are verbs after another noun: *barks* in *the dog barks*.

    Example:
        >>> [mention.noun for mention in Nouns(["dog", "car door"]).mentions("The dogs and a car door.")]
        ['dog', 'car door']
    """

    def __init__(self, nouns: Iterable[str] = (), verbs: Iterable[str] = ()) -> None:
        self._nouns: set[str] = set()
        self._verbs = frozenset(verbs)
        self._lengths: list[int] = []  # ascending, each once
        self.add(nouns)

    def more(self, nouns: Iterable[str]) -> Nouns:
        """Return a set with additional nouns."""
        return Nouns((*self._nouns, *nouns), self._verbs)

    def only(self, nouns: Iterable[str]) -> Nouns:
        """Return a set of other nouns with the same verbs."""
        return Nouns(nouns, self._verbs)

    def add(self, nouns: Iterable[str]) -> None:
        """Add nouns to the set."""
        for noun in map(lowered, nouns):
            if noun and noun not in self._nouns:
                self._nouns.add(noun)
                if len(noun) not in self._lengths:
                    insort(self._lengths, len(noun))

    def mentions(self, text: str) -> list[Mention]:
        """Find all mentions of the nouns in a text; of two adjacent ones, as in *church organ*, the second counts."""
        low = lowered(text)
        found: list[Mention] = []
        end = 0
        for word in _WORD.finditer(text):
            here = self._at(low, word.start()) if word.start() >= end else None
            if here is None:
                continue
            end = here.end
            adjoins = bool(found) and _JOINT.fullmatch(text, found[-1].end, here.start) is not None
            if adjoins and low[here.start : here.end] in self._verbs:
                continue
            if adjoins:
                found.pop()
            found.append(here)
        return found

    def named(self, text: str) -> list[str]:
        """Return the nouns that a text mentions, in the order of their first mention."""
        return list(dict.fromkeys(mention.noun for mention in self.mentions(text)))

    def _at(self, low: str, start: int) -> Mention | None:
        """Return the longest noun, singular or plural, that begins at ``start``."""
        for length in reversed(self._lengths):
            noun = low[start : start + length]
            if noun in self._nouns and (ending := _ENDING.match(low, start + len(noun))):
                return Mention(start, ending.end(), noun)
        return None


def lowered(text: str) -> str:
    """Convert a text to lower case without changing the position of any character."""
    whole = text.lower()
    if len(whole) == len(text):
        return whole
    return "".join(low if len(low := character.lower()) == 1 else character for character in text)


def _phrase(text: str, *, plural: bool) -> str | None:
    """Return the noun phrase at the beginning of a text that follows a determiner."""
    taken: list[str] = []
    for word in re.findall(r"[^\W\d_][\w'’-]*|\S", lowered(text)):
        if word == "of" and taken and taken[-1] in _GENERIC:
            taken = []
            continue
        if word in _STOP or not word[0].isalpha() or (taken and _NO_PART.search(word)):
            break
        if taken and _INFLECTED.search(word):
            taken += [word] if plural else []  # a plural ends the phrase; otherwise the word is a verb
            break
        if word not in _SIZE_OF and word not in ("a", "an", "the"):
            taken.append(word)
    if not taken or taken[-1] in _GENERIC:
        return None
    phrase = " ".join(taken[-3:])
    return phrase if len(phrase) <= MAX_NOUN_LENGTH else None


def clauses(text: str) -> list[str]:
    """Split a text into clauses.

    Example:
        >>> clauses("A small dog barks twice and a car door slams.")
        ['A small dog barks twice', 'a car door slams']
    """
    return [clause.strip() for clause in _CLAUSE.split(text) if clause.strip()]


def noun_phrases(text: str, known: Nouns = Nouns(), *, bare: bool = False) -> list[str]:  # noqa: B008  (never modified)
    """Extract noun phrases from the clauses that mention none of the ``known`` nouns, at most one per clause.

    Args:
        text: The text.
        known: Nouns that are already known.
        bare: Whether a clause may begin with a noun without an article, as in *dog at 2 s*.

    Example:
        >>> noun_phrases("A small dog barks twice and a car door slams.")
        ['dog', 'car door']
    """
    found = []
    for clause in clauses(text):
        if clause.lower().split(maxsplit=1)[0] in _LEADING or known.mentions(clause):
            continue
        determiner = _DETERMINER.search(clause)
        if determiner is not None:
            phrase = _phrase(clause[determiner.end() :], plural=determiner[0].strip().lower() in _PLURAL)
        else:
            phrase = _phrase(clause, plural=False) if bare else None
        if phrase:
            found.append(phrase)
    return list(dict.fromkeys(found))


def sizes(text: str, nouns: Nouns) -> dict[str, str]:
    """Return the size that an adjective states for each noun, for the nouns that have one.

    Example:
        >>> sizes("A tiny dog, a cat and a very large cat.", Nouns(["dog", "cat"]))
        {'dog': 'small', 'cat': 'large'}
    """
    found: dict[str, str] = {}
    for mention in nouns.mentions(text):
        if mention.noun not in found:
            size = _size_at_end(text[max(0, mention.start - LOOK_BACK) : mention.start])
            if size is not None:
                found[mention.noun] = size
    return found


def _size_at_end(text: str) -> str | None:
    for word in reversed(_BREAK.split(text)[-1].lower().split()[-4:]):
        if word in _SIZE_OF:
            return _SIZE_OF[word]
        if word in ("a", "an", "the", "and", "or", "with"):
            break
    return None
