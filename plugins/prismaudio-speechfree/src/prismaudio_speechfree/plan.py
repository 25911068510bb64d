"""When a plan has somebody speaking."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from prismaudio.cot.plan import Plan

ALWAYS = (0.0, float("inf"))

_NOBODY = re.compile(
    r"\b(?:nobody|no one|none|never|"
    r"(?:no|without|free of)(?: \w+)? (?:speech|voices?|words|talking|people|speaking))\b",
    re.IGNORECASE,
)
_SPEAKS = re.compile(
    r"\b(?:speak\w*|speech|talk\w*|voices?|say(?:s|ing)|sing(?:s|ing)|shout\w*|narrat\w*|conversations?|dialogue|"
    r"chatter\w*|whisper\w*|announce\w*|crowd)\b",
    re.IGNORECASE,
)
_SPAN = re.compile(r"from (\d+(?:\.\d+)?) s to (\d+(?:\.\d+)?) s")


def spoken_s(plan: Plan) -> list[tuple[float, float]]:
    """Spans in seconds in which somebody may speak, as its section says, or without one what the other sections say.

    Args:
        plan: The plan.

    Returns:
        Nothing where nobody speaks; one span without end where somebody does at no stated time.

    Example:
        >>> from prismaudio.cot.plan import Plan
        >>> spoken_s(Plan({"speechfree": "A man speaks from 1.0 s to 2.5 s."}))
        [(1.0, 2.5)]
        >>> spoken_s(Plan({"semantic": "A woman talks."})), spoken_s(Plan({"speechfree": "Nobody speaks."}))
        ([(0.0, inf)], [])
    """
    text = plan.get("speechfree", "") or " ".join(plan.values())
    if _NOBODY.search(text) or not _SPEAKS.search(text):
        return []
    spans = _SPAN.findall(text) if plan.get("speechfree") else []  # other sections have times of other things
    return [(float(start), float(end)) for start, end in spans] or [ALWAYS]
