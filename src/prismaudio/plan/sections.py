"""Splitting the text of a plan at its section tags."""

from __future__ import annotations

import difflib
import re
from typing import TYPE_CHECKING

from prismaudio.errors import PlanError

if TYPE_CHECKING:
    from collections.abc import Iterable

CORE = ("semantic", "temporal", "aesthetic", "spatial")

_MARK = re.compile(r"\\[\\<>#]|<\s*(?:(?P<closing>/)\s*)?(?P<name>[A-Za-z][\w-]*)\s*>|[<>]")
_ESCAPED = re.compile(r"\\([\\<>#])")


def tag(name: str) -> str:
    """The tag of a dimension.

    Example:
        >>> tag("loudness")
        '<Loudness>'
    """
    return f"<{name.capitalize()}>"


def escape_markup(text: str) -> str:
    r"""Escape the text of a section so that no part of it is parsed as a tag or a comment.

    Example:
        >>> print(escape_markup("#asmr I <3 it"))
        \#asmr I \<3 it
    """
    return re.sub(r"[\\<>]|^#", r"\\\g<0>", text)


def expected_form(names: Iterable[str]) -> str:
    """Return the expected form of a plan, for error messages."""
    return " ".join(f"{tag(name)} …" for name in names)


def _without_comments(text: str) -> str:
    lines = text.removeprefix("\ufeff").splitlines()
    return "\n".join(line for line in lines if not line.lstrip().startswith("#"))


def _tags(text: str, names: tuple[str, ...]) -> list[re.Match[str]]:
    tags = []
    for mark in _MARK.finditer(text):
        if mark["name"]:
            tags.append(mark)
        elif mark[0] in "<>":
            near = text[max(0, mark.start() - 5) : mark.start() + 20].partition("\n")[0].strip()
            raise PlanError(
                f"malformed section tag near {near!r}; expected {expected_form(names)}, "
                f"and \\{mark[0]} for a {mark[0]} that is part of the text"
            )
    return tags


def _known(name: str, names: tuple[str, ...]) -> str:
    if name.lower() in names:
        return name.lower()
    close = difflib.get_close_matches(name.lower(), names, n=1)
    hint = f"did you mean {tag(close[0])}?" if close else f"expected one of {', '.join(map(tag, names))}"
    raise PlanError(f"unknown section <{name}> in the plan; {hint}")


def split_sections(text: str, names: tuple[str, ...]) -> dict[str, str]:
    """Split the text of a plan into section texts by dimension name, in the order of the text.

    Args:
        text: Sections, each introduced by its tag; a closing tag after a section is allowed. Lines that begin with
            ``#`` are ignored. A backslash before ``<``, ``>``, ``#`` or another backslash escapes that character.
        names: The dimensions that may have a section, in lower case.

    Raises:
        PlanError: No tag, a malformed, unknown or duplicate tag, or text before the first tag.

    Example:
        >>> split_sections("<Semantic> A dog barks. <Spatial> From the left.", CORE)
        {'semantic': 'A dog barks.', 'spatial': 'From the left.'}
    """
    text = _without_comments(text)
    tags = _tags(text, names)
    if not tags:
        raise PlanError(f"the plan has no section tags; expected {expected_form(names)}")
    before = text[: tags[0].start()].strip()
    if before:
        raise PlanError(f"the plan has text before its first section: {before[:40]!r}; expected {expected_form(names)}")
    sections: dict[str, str] = {}
    is_open = ""
    for this, following in zip(tags, [*tags, None][1:], strict=True):
        name = _known(this["name"], names)
        body = " ".join(text[this.end() : following.start() if following else len(text)].split())
        if this["closing"]:
            if name != is_open or body:
                raise PlanError(f"malformed section tag {this[0]}: it closes nothing; expected {expected_form(names)}")
            is_open = ""
            continue
        if name in sections:
            raise PlanError(f"duplicate section {tag(name)} in the plan; keep one of them")
        sections[name], is_open = _ESCAPED.sub(r"\1", body), name
    return sections
