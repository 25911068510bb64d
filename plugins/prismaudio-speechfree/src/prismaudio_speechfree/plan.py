"""Finds planned speech in the text of a plan."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from prismaudio.plan import Plan

ALWAYS = (0.0, float("inf"))

_SPEAKS = re.compile(
    r"\b(?:speak\w*|speech|talk\w*|voices?|say(?:s|ing)|sing(?:s|ing)?|shout\w*|narrat\w*|conversations?|dialogue|"
    r"chatter\w*|whisper\w*|announce\w*|crowd)\b(?!-free)",
    re.IGNORECASE,
)
_SPEECH = re.compile(
    r"\b(?:speak(?:s|ing|ers?)?|speech|talk(?:s|ing)?|say(?:s|ing)|narrat(?:or|ors|es|ing|ion)|conversations?|dialogues?|"
    r"announce(?:s|r|rs|ments?))\b(?!-free)",
    re.IGNORECASE,
)
_CREATURE = r"(?:\w*birds?|robins?|nightingales?|canar(?:y|ies)|larks?|cicadas?|crickets?|frogs?|whales?|kettles?|wind)"
_VOICE = r"(?:sing(?:s|ing)?|chatter\w*|whisper\w*|voices?)"
_NO_PERSON = re.compile(
    rf"\b{_CREATURE}(?: (?:is|are|\w+ly))* {_VOICE}\b|\b{_VOICE}(?: of)?(?: (?:an?|the|some|many))? {_CREATURE}\b",
    re.IGNORECASE,
)
_NOT_BEFORE = re.compile(
    r"(?:\b(?:no|nobody|none|neither|nor|without|free (?:of|from)|(?:absence|lack|devoid) of)\b(?:\W+\w+){0,5}|"
    r"(?:\bnever|\bnot|cannot|n't)\b(?:\W+\w+){0,2})\W*$",
    re.IGNORECASE,
)
_NOT_AFTER = re.compile(
    r"^ nothing\b|(?:\bnever|\bnot|cannot|n't) (?:be )?(?:heard|audible|present)\b|\b(?:absent|missing|inaudible)\b",
    re.IGNORECASE,
)
_SENTENCE = re.compile(r"[.;!?](?!\d)")
_CLAUSE = re.compile(
    r",(?!(?:,? \w+){0,3},? n?or\b)|"  # not within "no music, speech or noise"
    r"\b(?:while|whereas|but|then|when|until|before|after|though|although)\b|(?=\b(?:except|apart from)\b)|"
    r"\b(?:and|as)\b(?= (?:an?|the|one|two|some|several|another|he|she|they|people|somebody|someone)\b)",
    re.IGNORECASE,
)
_EXCEPT = re.compile(r"except|apart from", re.IGNORECASE)
_SPAN = re.compile(r"from (\d+(?:\.\d+)?) s to (\d+(?:\.\d+)?) s\b", re.IGNORECASE)


def spoken_s(plan: Plan) -> list[tuple[float, float]]:
    """Spans of planned speech in seconds, from the section ``speechfree`` or, without one, from the other sections.

    A negation ("no speech", "nobody talks") applies to its clause only; a span stated in another clause is kept.

    Args:
        plan: The plan.

    Returns:
        An empty list without speech; one unbounded span for speech without stated times.

    Example:
        >>> from prismaudio.plan import Plan
        >>> spoken_s(Plan({"speechfree": "A man speaks from 1.0 s to 2.5 s, without other voices."}))
        [(1.0, 2.5)]
        >>> spoken_s(Plan({"semantic": "A woman talks."})), spoken_s(Plan({"speechfree": "Nobody speaks."}))
        ([(0.0, inf)], [])
    """
    section = plan.get("speechfree", "")
    somebody = ever = False
    spans = []
    for sentence in _SENTENCE.split(section or ". ".join(plan.values())):
        clauses = _CLAUSE.split(sentence)
        speech = [_speaks(clause) for clause in clauses]
        if False in speech:
            speech = [True if _EXCEPT.match(clause) else speaks for clause, speaks in zip(clauses, speech, strict=True)]
        if set(speech) != {None}:  # otherwise it continues the topic of the previous sentence
            somebody = True in speech
        ever |= somebody
        for clause, speaks in zip(clauses, speech, strict=True):
            if section and (somebody if speaks is None else speaks):  # times in other sections refer to other sources
                spans += _SPAN.findall(clause)
    return [(float(start), float(end)) for start, end in spans] or [ALWAYS] * ever


def spoken_words(plan: Plan) -> tuple[str, str] | None:
    """The section and the word with which a plan first states that somebody speaks; None if it does not.

    Unlike :func:`spoken_s` it reads every section, and not what may be speech or not, such as a crowd or a song.

    Args:
        plan: The plan.

    Example:
        >>> from prismaudio.plan import Plan
        >>> spoken_words(Plan({"semantic": "A dog barks while a man talks.", "speechfree": "Nobody speaks."}))
        ('semantic', 'talks')
        >>> spoken_words(Plan({"semantic": "A crowd cheers. There is no speech."}))
    """
    for name, text in plan.items():
        for sentence in _SENTENCE.split(text):
            for clause in _CLAUSE.split(sentence):
                if found := next(_stated(_SPEECH, _NO_PERSON.sub("", clause)), None):
                    return name, found[0]
    return None


def _speaks(clause: str) -> bool | None:
    """Whether a clause states speech (True) or its absence (False); None if it mentions neither."""
    clause = _NO_PERSON.sub("", clause)
    return any(_stated(_SPEAKS, clause)) if _SPEAKS.search(clause) else None


def _stated(words: re.Pattern[str], clause: str) -> Iterator[re.Match[str]]:
    """The words of a clause that are not negated."""
    for word in words.finditer(clause):
        if not _NOT_BEFORE.search(clause[: word.start()]) and not _NOT_AFTER.search(clause[word.end() :]):
            yield word
