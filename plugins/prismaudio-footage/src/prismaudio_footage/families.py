"""The families of things that sound: what they are called, how they sound, how they are recognised, and the rules.

Two tables in ``data`` are all there is: ``families.csv`` says what each family is called and does and what YAMNet calls
its sound, ``imagenet.csv`` which ImageNet classes mean it. :data:`RULES` names what follows from several signs.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Literal, cast

from prismaudio.plan.nouns import Nouns

Kind = Literal["strikes", "calls", "runs", "flows", "cue"]
SUSTAINED: tuple[Kind, ...] = ("runs", "flows")
"""Kinds whose sound lasts as long as they are seen; the others sound when something moves."""
MIN_GAP_S: Mapping[Kind, float] = {"strikes": 0.15, "calls": 0.5}
"""Least time between two onsets of a kind."""
UNKNOWN = "rustle"
"""Noun of the neutral texture that follows the motion of what is not recognised."""
UNKNOWN_VERB = "of an unknown thing follows the motion"
DATA = Path(__file__).with_name("data")


@dataclass(frozen=True)
class Family:
    """A family of things that sound alike.

    Args:
        name: The noun that plans use.
        verb: What it does, after the noun.
        kind: ``strikes``: short sounds when something moves; ``calls``: the same, less often; ``runs`` and ``flows``: a
            sustained sound while it is seen; ``cue``: it has no sound of its own, and :data:`RULES` use it.
        words: Other nouns for it in prompts and plans.
        heard_as: AudioSet classes of YAMNet that count as hearing it.
        classes: Indices of the ImageNet classes that mean it; empty for one that only rules or prompts name.
    """

    name: str
    verb: str
    kind: Kind
    words: tuple[str, ...] = ()
    heard_as: tuple[str, ...] = ()
    classes: tuple[int, ...] = ()

    @property
    def lasts(self) -> bool:
        """Whether its sound is sustained."""
        return self.kind in SUSTAINED


@dataclass(frozen=True)
class Rule:
    """A family that is concluded from others.

    Args:
        cues: Names of families; the sum of their scores is the score of the conclusion.
        is_periodic: Whether the motion must be periodic.
        family: Name of the family that follows.
    """

    cues: tuple[str, ...]
    is_periodic: bool
    family: str


RULES = (
    Rule(("person", "shoe"), is_periodic=True, family="footstep"),
    Rule(("vegetable", "knife"), is_periodic=True, family="knife"),
)
"""What follows from several signs; a rule whose condition holds is applied before families are named."""


@lru_cache(maxsize=1)
def families() -> dict[str, Family]:
    """All families by name, as the tables state them.

    Example:
        >>> families()["dog"].verb, len(families()["dog"].classes)
        ('barks', 119)
    """
    seen: dict[str, list[int]] = {}
    with (DATA / "imagenet.csv").open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            seen.setdefault(row["sees"], []).append(int(row["index"]))
    with (DATA / "families.csv").open(encoding="utf-8", newline="") as file:
        return {
            row["family"]: Family(
                *(row["family"], row["verb"], cast("Kind", row["kind"])),
                *(_parts(row["words"]), _parts(row["heard_as"]), tuple(seen.get(row["family"], ()))),
            )
            for row in csv.DictReader(file)
        }


def _parts(cell: str) -> tuple[str, ...]:
    return tuple(part for part in cell.split(";") if part)


def sounding() -> list[Family]:
    """The families that have a sound, in the order of the table."""
    return [family for family in families().values() if family.kind != "cue"]


@lru_cache(maxsize=1)
def nouns() -> Nouns:
    """The nouns of families for reading plans and prompts; their verbs, as in *the gun fires*, are no nouns."""
    words = [word for family in sounding() for word in (family.name, *family.words)]
    return Nouns((*words, UNKNOWN), verbs=[family.verb.split()[0] for family in sounding()])


def family_of(noun: str) -> Family | None:
    """The family that a noun names; None if no family has it.

    Example:
        >>> family_of("puppy").name
        'dog'
    """
    return next((family for family in sounding() if noun in (family.name, *family.words)), None)


def verbs() -> dict[str, Sequence[str]]:
    """Verb phrases by noun, for :func:`prismaudio.plan.writing.describe`."""
    return {UNKNOWN: (UNKNOWN_VERB,), **{family.name: (family.verb,) for family in sounding()}}


def table() -> str:
    """The families as a table in Markdown, for the documentation."""
    lines = ["| family | plan says | kind | ImageNet classes | other words |", "|---|---|---|---|---|"]
    for family in sounding():
        concluded = [rule for rule in RULES if rule.family == family.name]
        seen = str(len(family.classes)) if family.classes else ""
        by_rule = "; ".join(f"{' or '.join(rule.cues)} in periodic motion" for rule in concluded)
        cells = (
            family.name,
            family.verb,
            family.kind,
            ", ".join(part for part in (seen, by_rule) if part) or "prompts",
        )
        lines.append(f"| {' | '.join(cells)} | {', '.join(family.words)} |")
    return "\n".join(lines)
