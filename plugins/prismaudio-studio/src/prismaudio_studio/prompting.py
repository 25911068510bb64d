"""Prompts and partial plans: what they state, and what they leave open filled with what was seen."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING

from prismaudio.plan import CORE, Plan
from prismaudio.plan.nouns import Nouns
from prismaudio.plan.story import Source, Story
from prismaudio.plan.words import COUNTS
from prismaudio_studio.narration import narrate
from prismaudio_studio.planner.watching import merged
from prismaudio_studio.words import LASTING, NOUNS

if TYPE_CHECKING:
    from collections.abc import Sequence

FIRST_S, EVERY_S = 0.5, 2.0
"""When and how often a thing sounds that no times are known of."""
CHOSEN = "the plan states no times; the moments of its sounds are chosen for it"


def worded(prompt: str, seen: Plan | None) -> Plan:
    """A plan whose semantic section is the prompt; what the prompt leaves open is as in the plan that was ``seen``.

    Times, directions, quality and room that the prompt states are taken from it; the things that it names sound when
    and where the things that were seen do.

    Example:
        >>> seen = Plan.parse("<Semantic> A ball. <Temporal> The ball sounds at 0.50 s. <Aesthetic> Dry acoustics.")
        >>> print(worded("A small bell in a hall.", seen))
        <Semantic> A small bell in a hall. <Temporal> The bell sounds at 0.50 s. <Aesthetic> Hall acoustics.
    """
    said = Plan(dict.fromkeys(CORE, prompt)).read(NOUNS)
    known = seen.read(NOUNS) if seen is not None else Story()
    quality, room = said.quality or known.quality, said.room or known.room
    sources = recast(said.sources, known.sources) if said.sources else known.sources
    told = narrate(Story(sources, quality, room))
    if not sources:  # what is not understood may well sound
        told = Plan({name: text for name, text in told.items() if name == "aesthetic"})
    if seen is not None and not (said.quality or said.room) and "aesthetic" in seen:
        told = told.replace({"aesthetic": seen["aesthetic"]})
    texts = {name: prompt if name == "semantic" else told.get(name, "") for name in CORE}
    others = {name: text for name, text in (seen or {}).items() if name not in CORE}
    return Plan({name: text for name, text in {**texts, **others}.items() if text})


def recast(named: Sequence[Source], seen: Sequence[Source]) -> tuple[Source, ...]:
    """The things that a prompt names, with the times and places of those that were seen.

    A thing of the same name keeps its own; the others are dealt out in order, and when there are more of them than
    names, the last name gets the rest.
    """
    own = {source.what: source for source in seen}
    names = {source.what for source in named}
    free = [source for source in seen if source.what not in names]
    out = []
    waiting = [source for source in named if source.what not in own]
    for source in named:
        match = own.get(source.what)
        if match is None and (free or seen):
            last = source is waiting[-1]
            mine = (free if last else free[:1]) or [seen[0]]
            free = [] if last else free[1:]
            match = mine[0]
            for other in mine[1:]:
                match = merged(match, other)
        out.append(filled(source, match))
    return tuple(out)


def filled(source: Source, seen: Source | None) -> Source:
    """A source with what it does not state taken from another one."""
    if seen is None:
        return source
    timed = source if source.onsets_s else seen
    return Source(
        source.what, timed.onsets_s, timed.end_s, source.azimuth_deg or seen.azimuth_deg, source.size or seen.size
    )


def timed(plan: Plan, duration_s: float) -> Plan:
    """The plan with a moment for everything that it names without one, when nothing in it has a time.

    Example:
        >>> timed(Plan({"semantic": "A bell rings."}), 2.0)["temporal"]
        'The bell sounds at 0.50 s.'
    """
    story = plan.read(NOUNS)
    if not story.sources or any(source.onsets_s for source in story.sources):
        return plan
    first_s = round(min(FIRST_S, duration_s / 4), 2)
    last_s = round(max(first_s + 0.1, duration_s - first_s), 2)
    counts = counted(plan.get("semantic", ""), [source.what for source in story.sources])
    sources = []
    for index, source in enumerate(story.sources):
        lasts = source.what in LASTING and source.what not in counts
        n_times = 1 if lasts else counts.get(source.what, 1 + max(0, int((last_s - first_s - 0.5) / EVERY_S)))
        every_s = min(EVERY_S, (last_s - first_s) / n_times)
        begin_s = first_s + min(0.3 * index, every_s / 2) * (not lasts)
        onsets = tuple(round(begin_s + every_s * i, 2) for i in range(n_times))
        sources.append(replace(source, onsets_s=onsets, end_s=last_s if lasts else None))
    told = narrate(replace(story, sources=tuple(sources)))
    rewritten = plan.replace({"temporal": told["temporal"]})
    ordered = {name: rewritten[name] for name in (*CORE, *rewritten) if name in rewritten}
    return Plan(ordered, [*plan.warnings, CHOSEN])


def counted(text: str, whats: Sequence[str]) -> dict[str, int]:
    """How often a text says that things sound, where it does.

    Example:
        >>> counted("A small bell rings twice and a drum booms.", ["bell", "drum"])
        {'bell': 2}
    """
    named = Nouns(whats).mentions(text)
    ends = [mention.start for mention in named][1:] + [len(text)] * bool(named)
    found: dict[str, int] = {}
    for mention, end in zip(named, ends, strict=True):
        said = re.split(r"[.;]", text[mention.end : end].lower())[0]
        for number, phrases in COUNTS.items():
            if any(re.search(rf"\b{phrase}\b", said) for phrase in phrases) or re.search(rf"\b{number} times\b", said):
                found[mention.noun] = number
    return found


def filled_up(given: Plan, seen: Plan | None) -> Plan:
    """A given plan, whose missing sections are those of the plan that was seen, about the things that it names.

    Where the semantic section names other things than the sections with times and places, these are about the things
    that it names: so a plan is told anew by changing one word.

    Example:
        >>> given = Plan.parse("<Semantic> A bell. <Temporal> The ball sounds at 0.50 s.")
        >>> print(filled_up(given, None))
        <Semantic> A bell. <Temporal> The bell sounds at 0.50 s.
    """
    named = given.read(NOUNS)
    meant = {source.what for source in Plan({"semantic": given.get("semantic", "")}).read(NOUNS).sources}
    known = [source for source in named.sources if source.onsets_s]
    if meant and known and not any(source.what in meant for source in known):
        rest = Plan({name: text for name, text in given.items() if name != "semantic"})
        given = worded(given["semantic"], rest)
        named = given.read(NOUNS)
    if seen is None or all(name in given for name in seen):
        return given
    story = seen.read(NOUNS)
    sources = recast(named.sources, story.sources) if named.sources else story.sources
    told = narrate(replace(story, sources=sources))
    missing = {name: told.get(name, "") if name in ("temporal", "spatial") else seen[name] for name in seen}
    if "semantic" not in given and named.sources:
        missing["semantic"] = told["semantic"]
    return Plan({**{name: text for name, text in missing.items() if text and name not in given}, **given})
