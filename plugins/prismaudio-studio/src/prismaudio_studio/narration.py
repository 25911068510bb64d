"""Write stories of the studio as plans in varied natural language."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import TYPE_CHECKING

from prismaudio.cot.strategies import restructured
from prismaudio.plan import Plan
from prismaudio.plan.writing import describe
from prismaudio_footage.families import UNKNOWN
from prismaudio_studio.families import voice_names
from prismaudio_studio.words import CLASSES, TIMBRES, VERBS, VOICELESS

if TYPE_CHECKING:
    from prismaudio.plan.story import Story

RENAMED = 0.4
"""Share of the sources of families that :func:`renamed` gives another name."""


def narrate(story: Story, rng: random.Random | None = None) -> Plan:
    """Write the four core sections of a story.

    Args:
        story: The events. Unset fields are left out of the text.
        rng: Random generator for words and sentence forms; None for the canonical ones.

    Returns:
        A plan with ``narrate(story, rng).read(NOUNS) == story``, times rounded to 0.01 s and azimuths to 1°.

    Example:
        >>> from prismaudio.plan.story import Source, Story
        >>> print(narrate(Story((Source("bell", (0.66, 1.2), None, (24, 24), "small"),), "clean", "dry")))
        <Semantic> A small bell rings twice. <Temporal> The bell sounds at 0.66 s and 1.20 s. \
<Aesthetic> A clean recording. Dry acoustics. <Spatial> The bell is on the right (azimuth +24°).
    """
    return Plan(describe(story, rng, VERBS, TIMBRES))


def renamed(story: Story, rng: random.Random) -> Story:
    """A story in which some sources of families have another name of theirs, and rustles that of any other thing.

    A model that is trained on such stories knows all words of the families, and a neutral sound for unknown things.
    """
    names = []
    for source in story.sources:
        others = [noun for noun, name in voice_names().items() if name == source.what and source.what not in CLASSES]
        others = list(VOICELESS) if source.what == UNKNOWN else others
        noun = rng.choice(others) if others and rng.random() < RENAMED else source.what
        names.append(source.what if noun in CLASSES else noun)
    sources = [replace(source, what=name) for source, name in zip(story.sources, names, strict=True)]
    return replace(story, sources=tuple(sources))


def written(story: Story, strategy: str, words: int | str) -> Plan:
    """The plan of a story in the form of a strategy.

    Args:
        story: The events.
        strategy: See :func:`prismaudio.cot.strategies.restructured`.
        words: Seed of the wording, and of the order of the words.
    """
    rng = random.Random(words)
    return Plan(restructured(narrate(story, rng), strategy, rng))
