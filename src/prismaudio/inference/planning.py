"""Whose plan it is: the planner's, the user's, or the user's words filled up by the planner."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from prismaudio.errors import shortened
from prismaudio.inference.watching import merged
from prismaudio.plan.narration import narrate
from prismaudio.plan.nouns import Nouns
from prismaudio.plan.plan import CORE, Plan
from prismaudio.plan.story import Source, Story
from prismaudio.plan.understanding import unknown_clauses
from prismaudio.plan.words import COUNTS, LASTING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from prismaudio.components import Dimension

MOST_QUOTED, MOST_LETTERS, MOST_NAMED = 3, 60, 20
"""How much a notice says of what is not understood: clauses, letters of each, and things that are known."""
FIRST_S, EVERY_S = 0.5, 2.0
"""When and how often a thing sounds that no times are known of."""


@dataclass
class Draft:
    """A plan on its way, and what its reader should know about how it came about.

    Args:
        plan: The plan so far.
        notices: One line each.
    """

    plan: Plan
    notices: list[str] = field(default_factory=list)


def worded(prompt: str, seen: Plan | None) -> Plan:
    """A plan whose semantic section is the prompt; what the prompt leaves open is as in the plan that was ``seen``.

    Times, directions, quality and room that the prompt states are taken from it; the things that it names sound when
    and where the things that were seen do.

    Example:
        >>> seen = Plan.parse("<Semantic> A ball. <Temporal> The ball sounds at 0.50 s. <Aesthetic> Dry acoustics.")
        >>> print(worded("A small bell in a hall.", seen))
        <Semantic> A small bell in a hall. <Temporal> The bell sounds at 0.50 s. <Aesthetic> Hall acoustics.
    """
    said = Plan(dict.fromkeys(CORE, prompt)).story
    known = seen.story if seen is not None else Story()
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


def timed(plan: Plan, duration_s: float) -> Draft:
    """The plan with a moment for everything that it names without one, when nothing in it has a time.

    Example:
        >>> timed(Plan({"semantic": "A bell rings."}), 2.0).plan["temporal"]
        'The bell sounds at 0.50 s.'
    """
    story = plan.story
    if not story.sources or any(source.onsets_s for source in story.sources):
        return Draft(plan)
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
    return Draft(Plan(ordered), ["the plan states no times; the moments of its sounds are chosen for it"])


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


def completed(plan: Plan, dimensions: Sequence[Dimension]) -> Draft:
    """The plan with the default sections of dimensions that it lacks, in the order of the dimensions."""
    texts, notices = dict(plan), []
    for dimension in dimensions:
        if not texts.get(dimension.name):
            texts.pop(dimension.name, None)
            if dimension.default_section:
                texts[dimension.name] = dimension.default_section
            else:
                notices.append(f"nobody answers the {dimension.name} section; it is left out of the plan")
    names = [dimension.name for dimension in dimensions if dimension.name in texts]
    return Draft(Plan({name: texts[name] for name in dict.fromkeys([*names, *texts])}), notices)


def merged_sections(given: Plan, seen: Plan | None) -> Plan:
    """A given plan, whose missing sections are those of the plan that was seen, about the things that it names."""
    if seen is None or all(name in given for name in seen):
        return given
    named, known = given.story, seen.story
    sources = recast(named.sources, known.sources) if named.sources else known.sources
    told = narrate(replace(known, sources=sources))
    missing = {name: told.get(name, "") if name in ("temporal", "spatial") else seen[name] for name in seen}
    if "semantic" not in given and named.sources:
        missing["semantic"] = told["semantic"]
    return Plan({**{name: text for name, text in missing.items() if text and name not in given}, **given})


def unwanted(prompt: str) -> Plan:
    """The negative plan of a negative prompt: its words in the sections that they are about.

    Example:
        >>> print(unwanted("a noisy recording of a bell"))
        <Semantic> a noisy recording of a bell <Aesthetic> a noisy recording of a bell
    """
    story = Plan(dict.fromkeys(CORE, prompt)).story
    names = {
        "aesthetic": story.quality is not None or story.room is not None,
        "spatial": any(source.azimuth_deg is not None for source in story.sources),
    }
    about = [name for name, is_about in names.items() if is_about]
    if story.sources or not about:
        about = ["semantic", *about]
    return Plan(dict.fromkeys(about, prompt))


def not_understood(texts: Sequence[str], known: Sequence[str] | None) -> list[str]:
    """A notice about what a model that knows things by name cannot follow in texts; none when it understands any text.

    Args:
        texts: What the user wrote.
        known: The things that the model knows by name; None for a model of any text.

    Example:
        >>> not_understood(["A bell rings and a dog barks."], ["bell", "drum"])
        ["not understood: 'a dog barks'; this model knows bell, drum"]
        >>> not_understood(["Eine Glocke"], ["bell", "drum"])
        ["nothing that sounds is understood in 'Eine Glocke', so the model cannot follow it; it knows bell, drum"]
    """
    if known is None:
        return []
    nouns = Nouns(known)
    clauses = list(dict.fromkeys(clause for text in texts for clause in unknown_clauses(text, nouns)))
    if not clauses:
        return []
    quoted = ", ".join(repr(shortened(clause, MOST_LETTERS)) for clause in clauses[:MOST_QUOTED])
    quoted += f" and {len(clauses) - MOST_QUOTED} more" if len(clauses) > MOST_QUOTED else ""
    things = ", ".join(known[:MOST_NAMED])
    things += f" and {len(known) - MOST_NAMED} more" if len(known) > MOST_NAMED else ""
    if any(nouns.mentions(text) for text in texts):
        return [f"not understood: {quoted}; this model knows {things}"]
    return [f"nothing that sounds is understood in {quoted}, so the model cannot follow it; it knows {things}"]
