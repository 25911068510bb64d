"""The families of things that sound like recordings: which recordings, how they move, and what else they sound like.

One table, ``data/families.csv``, says it; what families are called and do is in the table of ``prismaudio_footage``.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import lru_cache
from pathlib import Path

from prismaudio_footage.families import family_of, sounding

DATA = Path(__file__).with_name("data")


@dataclass(frozen=True)
class Voice:
    """A family whose sound is learned from recordings.

    Args:
        name: Its noun, that of ``prismaudio_footage.families``.
        motion: How it moves when it sounds, a key of :data:`prismaudio_studio.words.MOTIONS`.
        also: Other families that sound like it.
        recordings: Classes of recordings of it; ``*`` stands for anything.
    """

    name: str
    motion: str
    also: tuple[str, ...]
    recordings: tuple[str, ...]

    def is_of(self, what: str) -> bool:
        """Whether a class of recordings belongs to the family: its name, or one of the table's."""
        plain = what.strip().lower().replace(" ", "_")
        return plain == self.name.replace(" ", "_") or any(fnmatchcase(plain, name) for name in self.recordings)


@lru_cache(maxsize=1)
def voices() -> dict[str, Voice]:
    """The families by name, in the order of the table, on which the scenes of a seed depend.

    Example:
        >>> voices()["power tool"].is_of("chainsaw")
        True
    """

    def parts(cell: str) -> tuple[str, ...]:
        return tuple(part for part in cell.split(";") if part)

    with (DATA / "families.csv").open(encoding="utf-8", newline="") as file:
        rows = csv.DictReader(file)
        return {
            row["family"]: Voice(row["family"], row["motion"], parts(row["also"]), parts(row["recordings"]))
            for row in rows
        }


@lru_cache(maxsize=1)
def voice_names() -> dict[str, str]:
    """The voice that each noun of a family has: its own, or that of a family which sounds like it.

    Example:
        >>> [voice_names()[noun] for noun in ("puppy", "lorry")]
        ['dog', 'car']
    """
    by_family = {name: voice.name for voice in voices().values() for name in (voice.name, *voice.also)}
    return {
        noun: by_family[family.name]
        for family in sounding()
        if family.name in by_family
        for noun in (family.name, *family.words)
    }


def lasts(noun: str) -> bool:
    """Whether what a noun of a family names sounds continuously."""
    family = family_of(noun)
    return family is not None and family.lasts
