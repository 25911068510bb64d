"""Complete prompts and partial plans with the events detected in the video."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING

from prismaudio.plan import CORE, Plan
from prismaudio.plan.nouns import Nouns
from prismaudio.plan.story import Source, Story
from prismaudio.plan.words import COUNTS
from prismaudio_studio.narration import narrate
from prismaudio_studio.planner.watching import merge_sources
from prismaudio_studio.words import Vocabulary, class_of

if TYPE_CHECKING:
    from collections.abc import Sequence

FIRST_S, EVERY_S = 0.5, 2.0
"""First onset and onset interval of sources without times."""
STUDIO = Vocabulary()
"""That of the synthetic classes."""
TIMES_ADDED = "the plan states no times; default onset times are used"


def plan_from_prompt(prompt: str, detected: Plan | None, vocabulary: Vocabulary = STUDIO) -> Plan:
    """A plan with the prompt as its semantic section, completed with the plan ``detected`` in the video.

    Times, directions, quality and room that the prompt states take precedence; otherwise the sources that it names
    get the onsets and directions of the detected sources.

    Example:
        >>> detected = Plan.parse("<Semantic> A ball. <Temporal> The ball sounds at 0.50 s. <Aesthetic> Dry acoustics.")
        >>> print(plan_from_prompt("A small bell in a hall.", detected))
        <Semantic> A small bell in a hall. <Temporal> The bell sounds at 0.50 s. <Aesthetic> Hall acoustics.
    """
    nouns = vocabulary.nouns
    stated = Plan(dict.fromkeys(CORE, prompt)).read(nouns)
    known = detected.read(nouns) if detected is not None else Story()
    quality, room = stated.quality or known.quality, stated.room or known.room
    sources = match_sources(stated.sources, known.sources) if stated.sources else known.sources
    plan = narrate(Story(sources, quality, room))
    if not sources:  # a prompt that was not understood must not become a plan of silence
        plan = Plan({name: text for name, text in plan.items() if name == "aesthetic"})
    if detected is not None and not (stated.quality or stated.room) and "aesthetic" in detected:
        plan = plan.replace({"aesthetic": detected["aesthetic"]})
    texts = {name: prompt if name == "semantic" else plan.get(name, "") for name in CORE}
    others = {name: text for name, text in (detected or {}).items() if name not in CORE}
    return Plan({name: text for name, text in {**texts, **others}.items() if text})


def match_sources(named: Sequence[Source], detected: Sequence[Source]) -> tuple[Source, ...]:
    """Give the named sources the times and directions of the detected ones.

    Sources of the same class are matched first, whatever word names it; the remaining detected sources are assigned in
    order, and the last unmatched name gets all that are left.
    """
    by_name = {_class(source): source for source in detected}
    names = {_class(source) for source in named}
    free = [source for source in detected if _class(source) not in names]
    out = []
    unmatched = [source for source in named if _class(source) not in by_name]
    for source in named:
        match = by_name.get(_class(source))
        if match is None and (free or detected):
            last = source is unmatched[-1]
            assigned = (free if last else free[:1]) or [detected[0]]
            free = [] if last else free[1:]
            match = assigned[0]
            for other in assigned[1:]:
                match = merge_sources(match, other)
        out.append(complete_source(source, match))
    return tuple(out)


def _class(source: Source) -> str:
    return class_of(source.what) or source.what


def complete_source(source: Source, detected: Source | None) -> Source:
    """A source with its unset fields taken from another one."""
    if detected is None:
        return source
    timing = source if source.onsets_s else detected
    return Source(
        source.what,
        timing.onsets_s,
        timing.end_s,
        source.azimuth_deg or detected.azimuth_deg,
        source.size or detected.size,
    )


def add_times(plan: Plan, duration_s: float, vocabulary: Vocabulary = STUDIO) -> Plan:
    """Add onset times to a plan that states none.

    Example:
        >>> add_times(Plan({"semantic": "A bell rings."}), 2.0)["temporal"]
        'The bell sounds at 0.50 s.'
    """
    story = plan.read(vocabulary.nouns)
    if not story.sources or any(source.onsets_s for source in story.sources):
        return plan
    first_s = round(min(FIRST_S, duration_s / 4), 2)
    last_s = round(max(first_s + 0.1, duration_s - first_s), 2)
    counts = stated_counts(plan.get("semantic", ""), [source.what for source in story.sources])
    sources = []
    for index, source in enumerate(story.sources):
        lasts = vocabulary.lasts(source.what) and source.what not in counts
        n_times = 1 if lasts else counts.get(source.what, 1 + max(0, int((last_s - first_s - 0.5) / EVERY_S)))
        every_s = min(EVERY_S, (last_s - first_s) / n_times)
        begin_s = first_s + min(0.3 * index, every_s / 2) * (not lasts)
        onsets = tuple(round(begin_s + every_s * i, 2) for i in range(n_times))
        sources.append(replace(source, onsets_s=onsets, end_s=last_s if lasts else None))
    rewritten = plan.replace({"temporal": narrate(replace(story, sources=tuple(sources)))["temporal"]})
    ordered = {name: rewritten[name] for name in (*CORE, *rewritten) if name in rewritten}
    return Plan(ordered, [*plan.warnings, TIMES_ADDED])


def stated_counts(text: str, whats: Sequence[str]) -> dict[str, int]:
    """The numbers of sounds that a text states, by noun.

    Example:
        >>> stated_counts("A small bell rings twice and a drum booms.", ["bell", "drum"])
        {'bell': 2}
    """
    named = Nouns(whats).mentions(text)
    ends = [mention.start for mention in named][1:] + [len(text)] * bool(named)
    found: dict[str, int] = {}
    for mention, end in zip(named, ends, strict=True):
        clause = re.split(r"[.;]", text[mention.end : end].lower())[0]
        for number, phrases in COUNTS.items():
            if any(re.search(rf"\b{phrase}\b", clause) for phrase in (*phrases, f"{number} times")):
                found[mention.noun] = number
    return found


def complete_plan(given: Plan, detected: Plan | None, vocabulary: Vocabulary = STUDIO) -> Plan:
    """Complete a given plan with the sections of the plan ``detected``, rewritten for the sources that it names.

    If the semantic section names other sources than the temporal and spatial sections, these are rewritten for the
    sources of the semantic section, so that changing one word edits the whole plan.

    Example:
        >>> given = Plan.parse("<Semantic> A bell. <Temporal> The ball sounds at 0.50 s.")
        >>> print(complete_plan(given, None))
        <Semantic> A bell. <Temporal> The bell sounds at 0.50 s.
    """
    nouns = vocabulary.nouns
    named = given.read(nouns)
    in_semantic = {source.what for source in Plan({"semantic": given.get("semantic", "")}).read(nouns).sources}
    with_times = [source for source in named.sources if source.onsets_s]
    if in_semantic and with_times and not any(source.what in in_semantic for source in with_times):
        rest = Plan({name: text for name, text in given.items() if name != "semantic"})
        given = plan_from_prompt(given["semantic"], rest, vocabulary)
        named = given.read(nouns)
    if detected is None or all(name in given for name in detected):
        return given
    story = detected.read(nouns)
    sources = match_sources(named.sources, story.sources) if named.sources else story.sources
    rewritten = narrate(replace(story, sources=sources))
    missing = {
        name: rewritten.get(name, "") if name in ("temporal", "spatial") else detected[name] for name in detected
    }
    if "semantic" not in given and named.sources:
        missing["semantic"] = rewritten["semantic"]
    return Plan({**{name: text for name, text in missing.items() if text and name not in given}, **given})
