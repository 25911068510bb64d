"""Splitting the text of a plan at its section tags."""

from __future__ import annotations

import difflib
import re
from typing import TYPE_CHECKING

from prismaudio.errors import PlanError

if TYPE_CHECKING:
    from collections.abc import Iterable

CORE = ("semantic", "temporal", "aesthetic", "spatial")

_TAG = re.compile(r"<\s*(?:(/)\s*)?([A-Za-z][\w-]*)\s*>")


def tag(name: str) -> str:
    """The tag of a dimension.

    Example:
        >>> tag("loudness")
        '<Loudness>'
    """
    return f"<{name.capitalize()}>"


def expected_form(names: Iterable[str]) -> str:
    """What a plan looks like, for error messages."""
    return " ".join(f"{tag(name)} …" for name in names)


def _reject_stray(text: str, names: tuple[str, ...]) -> None:
    stray = re.search(r"[<>]", text)
    if stray:
        near = text[max(0, stray.start() - 5) : stray.start() + 20].partition("\n")[0].strip()
        raise PlanError(f"malformed section tag near {near!r}; expected {expected_form(names)}")


def _known(name: str, names: tuple[str, ...]) -> str:
    if name.lower() in names:
        return name.lower()
    close = difflib.get_close_matches(name.lower(), names, n=1)
    hint = f"did you mean {tag(close[0])}?" if close else f"known are {', '.join(map(tag, names))}"
    raise PlanError(f"unknown section <{name}> in the plan; {hint}")


def split(text: str, names: tuple[str, ...]) -> dict[str, str]:
    """Section texts by dimension name, in the order of the text.

    Args:
        text: Sections, each introduced by its tag; a closing tag after a section is allowed.
        names: The dimensions that may have a section, in lower case.

    Raises:
        PlanError: No tag, a malformed, unknown or duplicate tag, or text before the first tag.

    Example:
        >>> split("<Semantic> A bell rings. <Spatial> From the left.", CORE)
        {'semantic': 'A bell rings.', 'spatial': 'From the left.'}
    """
    tags = list(_TAG.finditer(text))
    _reject_stray(_TAG.sub("", text), names)
    if not tags:
        raise PlanError(f"the plan has no section tags; expected {expected_form(names)}")
    before = text[: tags[0].start()].strip()
    if before:
        raise PlanError(f"the plan has text before its first section: {before[:40]!r}; expected {expected_form(names)}")
    sections: dict[str, str] = {}
    is_open = ""
    for this, following in zip(tags, [*tags, None][1:], strict=True):
        name = _known(this[2], names)
        body = " ".join(text[this.end() : following.start() if following else len(text)].split())
        if this[1]:
            if name != is_open or body:
                raise PlanError(f"malformed section tag {this[0]}: it closes nothing; expected {expected_form(names)}")
            is_open = ""
            continue
        if name in sections:
            raise PlanError(f"duplicate section {tag(name)} in the plan; keep one of them")
        sections[name], is_open = body, name
    return sections
