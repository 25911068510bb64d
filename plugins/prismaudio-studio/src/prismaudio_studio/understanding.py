"""Find the parts of a text that a vocabulary does not cover."""

from __future__ import annotations

import re

from prismaudio.plan import words
from prismaudio.plan.nouns import COMMON_WORDS, Nouns, clauses, lowered
from prismaudio.plan.reading import describes_sound
from prismaudio_studio.words import TIMBRES, VERBS

_WORD = re.compile(r"[^\W\d_]+")
_FUNCTION_WORDS = """
    nothing nobody silence silent happens azimuth deg degrees ms millisecond milliseconds s sec secs min mins minute
    minutes h hour hours every each about around half again also too very there here first next last later together all
    both sounding still stays moves travels passes
"""


PHRASES = (
    *words.GENERIC_VERBS,
    *(place for _, *groups in words.DIRECTIONS for group in groups for place in group),
    *(
        phrase
        for table in (VERBS, TIMBRES, words.SIZES, words.QUALITIES, words.ROOMS, words.COUNTS)
        for group in table.values()
        for phrase in group
    ),
)
"""What plans say of sounds, besides their nouns."""
_KNOWN_WORDS = COMMON_WORDS.union(_FUNCTION_WORDS.split(), *(_WORD.findall(phrase) for phrase in PHRASES))


def unknown_clauses(text: str, nouns: Nouns) -> list[str]:
    """The clauses of a text that name none of ``nouns`` and have words outside the known vocabulary.

    Example:
        >>> unknown_clauses("A bell rings twice on the left, and a dog barks in a hall.", Nouns(["bell"]))
        ['a dog barks in a hall']
        >>> unknown_clauses("Nothing sounds. A clean recording in a cathedral.", Nouns(["bell"]))
        []
    """
    found = []
    for clause in clauses(text):
        unknown = set(_WORD.findall(lowered(clause))) - _KNOWN_WORDS
        if not nouns.mentions(clause) and not all(map(describes_sound, unknown)):
            found.append(clause)
    return found
