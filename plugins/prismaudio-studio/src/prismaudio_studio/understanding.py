"""Find the parts of a text that a vocabulary does not cover."""

from __future__ import annotations

import re

from prismaudio.plan import words
from prismaudio.plan.nouns import COMMON_WORDS, clauses, lowered
from prismaudio.plan.reading import describes_sound
from prismaudio_footage.families import UNKNOWN
from prismaudio_studio.words import CLASSES, TIMBRES, VERBS, Vocabulary

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
_SYNTHETIC = [phrase for table in (VERBS, TIMBRES) for what in CLASSES for phrase in table[what]]
_USUAL = [phrase for phrase in PHRASES if phrase not in {p for forms in VERBS.values() for p in forms}]
_KNOWN_WORDS = COMMON_WORDS.union(
    _FUNCTION_WORDS.split(), *(_WORD.findall(phrase) for phrase in (*_USUAL, *_SYNTHETIC, *VERBS[UNKNOWN]))
)


def unknown_clauses(text: str, vocabulary: Vocabulary) -> list[str]:
    """The clauses of a text that name nothing that a model knows, and have words outside its vocabulary.

    Example:
        >>> unknown_clauses("A bell rings twice on the left, and a dog barks in a hall.", Vocabulary(["bell"]))
        ['a dog barks in a hall']
        >>> unknown_clauses("Nothing sounds. A clean recording in a cathedral.", Vocabulary(["bell"]))
        []
    """
    found = []
    for clause in clauses(text):
        named = [mention.noun for mention in vocabulary.nouns.mentions(clause)]
        if any(vocabulary.known.mentions(noun) for noun in named):
            continue
        unknown = set(_WORD.findall(lowered(clause))) - _KNOWN_WORDS
        if named or not all(map(describes_sound, unknown)):
            found.append(clause)
    return found
