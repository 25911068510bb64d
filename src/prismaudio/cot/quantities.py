"""Reading times and directions in a sentence."""

from __future__ import annotations

import re
from typing import NamedTuple

_NUMBER_WORDS = dict(
    zip(
        ["half", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"],
        (0.5, *range(1, 11)),
        strict=True,
    )
)
_SPELLED = re.compile(
    r"\b(half(?= an? second)|one|two|three|four|five|six|seven|eight|nine|ten)\b(?=(?: an?)? seconds?\b)"
)
_UNIT = re.compile(r"\s*(milliseconds?|msecs?|ms|seconds?|secs?|s)(?![a-z])")
_FOREIGN_UNIT = re.compile(
    r"\s*(?:°|º|%|deg|dbs?\b|hz|khz|x\b|times\b|bpm|[a-z]+\b(?<!and)(?<!to)(?<!until)(?<!then)(?<!till))"
)
_NUMBER = re.compile(r"(?<![\w.])\d+(?:[.,]\d+)?|(?<![\w.])\.\d+")
_LINK = re.compile(r"\s*(?:,?\s*(?:and|&|to|until|till|then|or)(?:\s+(?:again\s+)?at)?|,|-|–|—)\s*(?:again\s+)?")
_END = re.compile(
    r"(?:\bto|\buntil|\btill|\bthrough|[-–—]|\b(?:stop|end|fade|die|cease|finish|fall)\w*(?:\s+(?:silent|out|off|away))?\s*"
    r"(?:at|after|by)?)\s*(?:about|around)?$"
)
_START = re.compile(r"(?:\bat|\bfrom|\bbetween|@|\bt\s*=|\bonsets?:?|\baround|\babout|\bsince)$")
_LENGTH = re.compile(r"\b(?:for|last\w*|during)\s*(?:about|around)?$")
_PERIOD = re.compile(r"\b(?:every|each|within)\s*(?:about|around)?$")
_BETWEEN = re.compile(r"\bbetween\s*$")

_FAR, _SIDE, _HALF = 60.0, 35.0, 18.0
_SIGNED = r"[+\-−–]?\s*\d+(?:\.\d+)?"
_DIRECTION = re.compile(
    rf"(?P<azimuth>\b(?:azimuth|az)\b\.?\s*(?:of|is|=|:)?\s*{_SIGNED}\s*(?:°|º|deg\w*)?)"
    rf"|(?P<sided>(?<!\d)\d+(?:\.\d+)?\s*(?:°|º|deg[a-z]*+)\s*(?:to\s+the\s+|on\s+the\s+)?(?:left|right))"
    rf"|(?P<signed>(?<![\w.]){_SIGNED}\s*(?:°|º|deg\w*))"
    r"|(?P<near>\b(?:left|right)\s+of\s+(?:the\s+)?(?:cent|middle)\w*)"
    r"|(?P<word>(?:\b(?:far|extreme|hard|fully|slightly|half|mid|a little|a bit|cent(?:re|er))(?:\s+to\s+the)?[\s-]+)?"
    r"\b(?:left|right)\b(?:\s+edge)?(?!\s+(?:away|after|before|then|now)))"
    r"|(?P<middle>\bcent(?:re|er)\w*|\bcentral\w*|\bmiddle\b|\bstraight ahead\b|\bin front\b|\bdirectly ahead\b)",
    re.IGNORECASE,
)


class Value(NamedTuple):
    """A quantity in a sentence.

    Args:
        start: Where it stands.
        number: Seconds or degrees.
        role: ``"at"``, ``"end"`` or ``"for"`` for times; empty for directions.
    """

    start: int
    number: float
    role: str


def _spell_out(sentence: str) -> str:
    text = _SPELLED.sub(lambda m: str(_NUMBER_WORDS[m[1]]), sentence.lower())
    return text.replace("0.5 a second", "0.5 second")


def _role(before: str, previous: str) -> str:
    """What the words before a number make of it, and ``previous`` that of the number just before."""
    if _PERIOD.search(before):
        return "period"
    if _LENGTH.search(before):
        return "for"
    if _BETWEEN.search(before):
        return "between"
    if previous == "between" or (previous and _END.search(before)):
        return "end"
    return "at"


def _seconds(text: str) -> tuple[list[re.Match[str]], list[float | None]]:
    """Numbers, and how many seconds the unit of each stands for; None for numbers that are no times."""
    numbers = list(_NUMBER.finditer(text))
    scales: list[float | None] = [None] * len(numbers)
    for i in reversed(range(len(numbers))):
        unit = _UNIT.match(text, numbers[i].end())
        if unit:
            scales[i] = 0.001 if unit[1].startswith("m") else 1.0
        elif i + 1 < len(numbers) and _LINK.fullmatch(text, numbers[i].end(), numbers[i + 1].start()):
            scales[i] = scales[i + 1]
        foreign = _FOREIGN_UNIT.match(text, numbers[i].end())
        if (
            scales[i] is None
            and not foreign
            and _START.search(text[max(0, numbers[i].start() - 40) : numbers[i].start()].rstrip())
        ):
            scales[i] = 1.0
    for i in range(1, len(numbers)):
        linked = _LINK.fullmatch(text, numbers[i - 1].end(), numbers[i].start())
        if scales[i] is None and linked and not _FOREIGN_UNIT.match(text, numbers[i].end()):
            scales[i] = scales[i - 1]
    return numbers, scales


def times(sentence: str) -> list[Value]:
    """Times in seconds, in order; positions are exact unless numbers are spelled out.

    Example:
        >>> [(v.number, v.role) for v in times("at 1 and 2.5 seconds, then from 3 s to 3.5 s")]
        [(1.0, 'at'), (2.5, 'at'), (3.0, 'at'), (3.5, 'end')]
    """
    text = _spell_out(sentence)
    found, previous, begin = [], "", 0
    for number, scale in zip(*_seconds(text), strict=True):
        if scale is None:
            continue
        role = _role(text[begin : number.start()].rstrip(), previous)
        if role != "period":
            seconds = round(float(number[0].replace(",", ".")) * scale, 4)
            found.append(Value(number.start(), seconds, "at" if role == "between" else role))
        previous, begin = role, number.end()
    return found


def _degrees(match: re.Match[str]) -> float:
    kind, text = match.lastgroup, match[0].lower()
    if kind == "middle":
        return 0.0
    number = re.search(r"\d+(?:\.\d+)?", text)
    if number is not None and kind in ("azimuth", "signed"):
        return float(number[0]) * (-1.0 if re.search(r"[-−–]\s*\d", text) else 1.0)
    side = 1.0 if "right" in text else -1.0
    if number is not None:
        return side * float(number[0])
    if kind == "near" or re.match(r"slightly|half|mid|a little|a bit|cent", text):
        return side * _HALF
    return side * (_FAR if re.match(r"far|extreme|hard|fully", text) or "edge" in text else _SIDE)


def azimuths(sentence: str) -> list[Value]:
    """Directions in degrees, in order; a number in brackets makes the word before it exact.

    Example:
        >>> [v.number for v in azimuths("from the far left (azimuth -50°) to half right")]
        [-50.0, 18.0]
    """
    matches = list(_DIRECTION.finditer(sentence))
    found = []
    for match, following in zip(matches, [*matches, None][1:], strict=True):
        is_word = match.lastgroup in ("word", "middle", "near")
        if is_word and following is not None and following.lastgroup in ("azimuth", "signed", "sided"):
            between = sentence[match.end() : following.start()]
            if re.fullmatch(r"(?:\s*(?:side|edge))?[\s(,:]*(?:at|by)?\s*", between):
                continue
        found.append(Value(match.start(), min(max(_degrees(match), -90.0), 90.0), ""))
    return found
