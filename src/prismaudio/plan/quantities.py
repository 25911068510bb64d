"""Parsing times and directions in a sentence."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from prismaudio.plan.nouns import lowered

if TYPE_CHECKING:
    from collections.abc import Sequence

_ONES = ["one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]
_TEENS = ["ten", "eleven", "twelve", "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen"]
_TENS = ["twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"]
_NUMBER_WORDS = {
    **{word: number for number, word in enumerate((*_ONES, *_TEENS), 1)},
    **{word: number for number, word in zip(range(20, 100, 10), _TENS, strict=True)},
}
_SMALL = "|".join((*_TEENS, *_ONES))
_WORDED = rf"(?:(?:{'|'.join(_TENS)})(?:[ -](?:{'|'.join(_ONES)}))?|{_SMALL})"
_SPELLED = re.compile(
    rf"\b(?:half(?: an?)?(?= (?:second|minute|hour)\b)|(?P<words>{_WORDED})(?P<half> and a half)?"
    rf"(?=(?:(?:,? (?:and|or|to|until)|,) (?:{_WORDED}|\d+)){{0,9}} (?:(?:milli)?seconds?|minutes?|hours?)\b))"
)
_UNIT = re.compile(
    r"\s*(?:(?P<millisecond>milliseconds?|msecs?|ms)|(?P<second>seconds?|secs?|s)|(?P<minute>minutes?|mins?)|"
    r"(?P<hour>hours?|hrs?|h)|(?P<m>m)|(?P<double_prime>[\"″”]|''|′′)|(?P<prime>['’′]))(?![a-z])"
)
_SCALES = {
    "millisecond": 0.001, "second": 1.0, "minute": 60.0, "hour": 3600.0, "m": 60.0, "double_prime": 1.0, "prime": 60.0
}  # fmt: skip
"""Seconds per unit."""
_PARTS = {
    "m": ("second",),
    "prime": ("double_prime",),
    "minute": ("second",),
    "hour": ("minute", "m", "second"),
    "second": ("millisecond",),
}
"""Units that may follow a unit within one time, as in 1 min 2 s."""
_ONLY_IN_FRONT = {"m", "prime"}  # without a following unit, these are metres or feet
_SAME_UNIT = {"m": "minute", "double_prime": "second"}
_FOREIGN_UNIT = re.compile(
    r"\s*(?:°|º|%|deg|dbs?\b|hz|khz|x\b|times\b|bpm|[a-z]+\b(?<!and)(?<!to)(?<!until)(?<!then)(?<!till))"
)
_NUMBER = re.compile(
    r"(?:(?<![\w.:/])|(?<=\d[hms])|(?<=\dmin))"
    r"(?:(?P<clock>\d+(?::\d+)+(?:[.,]\d+(?![\d:]))?)|(?:(?P<whole>\d+) )?(?P<over>\d+)/(?P<under>\d+)(?!/)|"
    r"\d+(?:[.,]\d+(?![\d:]))?)|(?<![\w.])\.\d+"
)
_GLUED = re.compile(r"[\w:/]|\.\d")
_NO_CLOCK = re.compile(r"\s*(?:[ap]\.?\s?m\b|o['’]?\s?clock|uhr\b|ratio|aspect|format|screen|frame|odds|[:;]\d)")
_NO_CLOCK_AFTER = re.compile(
    r"(?:\b(?:ratio|aspect|odds)\s*(?:of|is|=|:)?|(?<!\bat )(?<!from )(?<!\bto )\b(?:an?|the))$"
)
_NEGATIVE = re.compile(r"(?:\bat|\bfrom|\bbetween|@|=|\bonsets?:?|\baround|\babout|\bsince)\s*[-−]$")
_TOGETHER = re.compile(r"\s*")
_TOGETHER_OR_LISTED = re.compile(r"\.?\s*(?:,\s*)?(?:and\s+)?")
MAX_TIME_S = 1e9
"""Upper limit of parsed times, to which later ones are clamped."""
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
_SIGNED = r"(?:[+\-−–]\s*)?\d+(?:\.\d+)?"
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
    """A time or direction in a sentence.

    Args:
        start: Position in the sentence.
        number: Seconds or degrees.
        role: ``"at"``, ``"end"`` or ``"for"`` for times; empty for directions.
    """

    start: int
    number: float
    role: str


class _Number(NamedTuple):
    """A number with its position and unit."""

    start: int
    end: int
    number: float
    unit: str
    is_clock: bool


def _spell_out(sentence: str) -> str:
    """Convert to lower case and replace the number words of times by digits, keeping all character positions."""

    def digits(match: re.Match[str]) -> str:
        number = sum(_NUMBER_WORDS[word] for word in re.split(r"[ -]", match["words"] or "") if word)
        return f"{number + 0.5 * bool(match['half'] or not match['words']):g}".ljust(len(match[0]))

    return _SPELLED.sub(digits, lowered(sentence))


def _clock_s(text: str) -> float | None:
    """Parse ``1:02.5`` or ``1:01:02.5`` to seconds; None if it is not a time, such as the ratio 16:9."""
    *leading, last = text.replace(",", ".").split(":")
    whole_s = last.partition(".")[0]
    has_right_digits = all(len(part) == 2 for part in (*leading[1:], whole_s)) or not any(map(float, leading))
    if len(leading) > 2 or not has_right_digits or any(float(part) >= 60 for part in (*leading[1:], last)):
        return None
    hours, minutes = [0.0, *map(float, leading)][-2:]
    return 3600 * hours + 60 * minutes + float(last)


def _value(match: re.Match[str], text: str) -> float | None:
    """Return the value of a matched number, clock times in seconds; None if it is not a number or a time."""
    if match["clock"]:
        no_clock = _NO_CLOCK.match(text, match.end()) or _NO_CLOCK_AFTER.search(_before(text, match.start()))
        return None if no_clock else _clock_s(match["clock"])
    if match["over"]:
        under = float(match["under"])
        return float(match["whole"] or 0) + float(match["over"]) / under if under else None
    return float(match[0].replace(",", "."))


def _before(text: str, end: int) -> str:
    return text[max(0, end - 40) : end].rstrip()


def _numbers(text: str) -> list[_Number]:
    """Find the numbers of a text; those that form one time, such as 1 min 2 s, are merged."""
    found: list[_Number] = []
    for match in _NUMBER.finditer(text):
        value = _value(match, text)
        if value is None:
            continue
        unit = _UNIT.match(text, match.end())
        name = str(unit.lastgroup) if unit else ""
        this = _Number(match.start(), match.end(), value, name, bool(match["clock"]))
        if found and not this.is_clock and _continues(text, found[-1], this):
            first = found.pop()
            seconds = first.number * _SCALES[first.unit] + this.number * _SCALES[name]
            name = _SAME_UNIT.get(name, name)
            this = _Number(first.start, this.end, seconds / _SCALES[name], name, is_clock=False)
        found.append(this)
    return found


def _continues(text: str, first: _Number, second: _Number) -> bool:
    """Return whether two numbers form one time: minutes and their seconds, hours and their minutes."""
    if (
        second.unit not in _PARTS.get(first.unit, ())
        or second.number * _SCALES[second.unit] >= _SCALES[first.unit]
        or first.is_clock
    ):
        return False
    unit = _UNIT.match(text, first.end)
    between = _TOGETHER if first.unit in {"second", *_ONLY_IN_FRONT} else _TOGETHER_OR_LISTED
    return unit is not None and between.fullmatch(text, unit.end(), second.start) is not None


def _role(before: str, previous: str) -> str:
    """Determine the role of a number from the words before it and the role of the ``previous`` number."""
    if _PERIOD.search(before):
        return "period"
    if _LENGTH.search(before):
        return "for"
    if _BETWEEN.search(before):
        return "between"
    if previous == "between" or (previous and _END.search(before)):
        return "end"
    return "at"


def _scales(text: str, numbers: Sequence[_Number]) -> list[float | None]:
    """Return the number of seconds per unit of each number; None for numbers that are not times."""
    scales: list[float | None] = [None] * len(numbers)
    foreign = [_FOREIGN_UNIT.match(text, number.end) is not None for number in numbers]
    for i in reversed(range(len(numbers))):
        this = numbers[i]
        if this.is_clock:
            scales[i] = 60.0 if this.unit == "hour" and this.number < 3600 else 1.0  # 1:30 h
        elif this.unit and this.unit not in _ONLY_IN_FRONT | {"double_prime"}:
            scales[i] = _SCALES[this.unit]
        elif i + 1 < len(numbers) and _LINK.fullmatch(text, this.end, numbers[i + 1].start):
            scales[i] = scales[i + 1]
        if scales[i] is None and not foreign[i] and not _GLUED.match(text, this.end):
            scales[i] = 1.0 if _START.search(_before(text, this.start)) else None
    for i in range(1, len(numbers)):
        if scales[i] is None and not foreign[i] and _LINK.fullmatch(text, numbers[i - 1].end, numbers[i].start):
            scales[i] = scales[i - 1]
    return scales


def times(sentence: str) -> list[Value]:
    """Find the times in a sentence, in seconds, ordered by position.

    Example:
        >>> [(v.number, v.role) for v in times("at 1 and 2.5 seconds, then from 3 s to 3.5 s")]
        [(1.0, 'at'), (2.5, 'at'), (3.0, 'at'), (3.5, 'end')]
        >>> [v.number for v in times("at 0:03, 1:02.5 and 01:00:01, and after 1 min 2 s")]
        [3.0, 62.5, 3601.0, 62.0]
    """
    text = _spell_out(sentence)
    found, previous, begin = [], "", 0
    numbers = _numbers(text)
    for number, scale in zip(numbers, _scales(text, numbers), strict=True):
        before = text[begin : number.start].rstrip()
        if scale is None or _NEGATIVE.search(before):
            continue
        role = _role(before, previous)
        if role != "period":
            seconds = min(round(number.number * scale, 4), MAX_TIME_S)
            found.append(Value(number.start, seconds, "at" if role == "between" else role))
        previous, begin = role, number.end
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


def azimuths(sentence: str, *, clamp: bool = True) -> list[Value]:
    """Find the directions in a sentence, in degrees, in order; a number in brackets replaces the word before it.

    Args:
        sentence: The sentence.
        clamp: Whether to limit the directions to -90 .. 90.

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
        degrees = _degrees(match)
        found.append(Value(match.start(), min(max(degrees, -90.0), 90.0) if clamp else degrees, ""))
    return found
