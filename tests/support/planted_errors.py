"""Errors of language models, planted in true plans, each with the gate that is there to reject it.

``plant(plan, rng, duration_s=4.0, clip_id="clip_17")`` plants one of :data:`ERRORS`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from prismaudio.plan import Plan
from prismaudio.plan.story import Source, Story
from prismaudio.plan.writing import describe

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Mapping

SHIFT_S = (0.3, 2.0)
"""The shortest and the longest time by which a sound is moved."""
SIDE_DEG = 15.0
"""A source this far from the middle is on a side."""
STRANGERS = ("parrot", "violin", "chainsaw", "typewriter", "trumpet")
REFUSALS = (
    "I'm sorry, but I cannot hear the audio.",
    "As an AI language model, I am unable to listen to sounds.",
    "No audio was provided, so the sound cannot be determined.",
)
MENTIONS = (
    "In this video, something sounds.",
    "The footage shows what sounds.",
    "The sound in the first frame 3 is loud.",
    "The video clip has a sound.",
)
FOREIGN = {
    "semantic": "Ein Gegenstand wird angeschlagen und klingt mit einem hellen Ton nach.",
    "temporal": "Das Geräusch ist bei 0.5 s und bei 1.2 s zu hören.",
    "aesthetic": "Die Aufnahme ist sauber und der Raum ist trocken.",
    "spatial": "Das Geräusch kommt von links und bewegt sich nicht.",
}
SPEECH = (
    "A man speaks in the background.",
    "A woman is talking.",
    "Two people have a conversation.",
    "A narrator explains what happens; her speech is clear.",
)


@dataclass(frozen=True)
class Case:
    """A true plan, and what is known of its clip."""

    plan: Plan
    duration_s: float
    clip_id: str
    other: Plan | None = None

    @property
    def story(self) -> Story:
        return self.plan.story

    def told(self, story: Story, *names: str) -> Plan:
        """The plan with sections of another story."""
        texts = describe(story)
        return self.plan.replace({name: texts.get(name, "Nothing sounds.") for name in names})

    def with_text(self, name: str, text: str) -> Plan:
        return self.plan.replace({name: text})


def _moved(time_s: float, shift_s: float, duration_s: float) -> float:
    """The time, later or else earlier by the shift; the farther end of the clip if there is no room."""
    for moved_s in (time_s + shift_s, time_s - shift_s):
        if 0 <= moved_s < duration_s:
            return round(moved_s, 2)
    return 0.0 if time_s > duration_s / 2 else round(duration_s - 0.01, 2)


def _shifted(case: Case, rng: random.Random) -> Plan | None:
    shift_s = rng.uniform(*SHIFT_S) * rng.choice((-1, 1))
    sources = []
    for source in case.story.sources:
        onsets_s = tuple(sorted({_moved(time_s, shift_s, case.duration_s) for time_s in source.onsets_s}))
        end_s = source.end_s
        if end_s is not None and onsets_s:
            end_s = round(min(case.duration_s, onsets_s[-1] + end_s - source.onsets_s[-1]), 2)
            end_s = end_s if end_s > onsets_s[-1] else None
        sources.append(replace(source, onsets_s=onsets_s, end_s=end_s))
    return case.told(replace(case.story, sources=tuple(sources)), "temporal") if _n_onsets(case.story) else None


def _n_onsets(story: Story) -> int:
    return sum(len(source.onsets_s) for source in story.sources)


def _with_onsets(story: Story, index: int, onsets_s: tuple[float, ...]) -> Story:
    sources = list(story.sources)
    end_s = sources[index].end_s
    end_s = end_s if onsets_s and end_s is not None and end_s > onsets_s[-1] else None
    sources[index] = replace(sources[index], onsets_s=onsets_s, end_s=end_s)
    return replace(story, sources=tuple(source for source in sources if source.onsets_s))


def _one(case: Case, rng: random.Random, change: Callable[[float], float | None]) -> Plan | None:
    """The plan with one time changed, or without it."""
    places = [(i, k) for i, source in enumerate(case.story.sources) for k in range(len(source.onsets_s))]
    if not places:
        return None
    index, at = rng.choice(places)
    onsets_s = list(case.story.sources[index].onsets_s)
    changed_s = change(onsets_s.pop(at))
    onsets_s += [] if changed_s is None else [changed_s]
    return case.told(_with_onsets(case.story, index, tuple(sorted(set(onsets_s)))), "temporal")


def _one_shifted(case: Case, rng: random.Random) -> Plan | None:
    return _one(case, rng, lambda time_s: _moved(time_s, rng.uniform(*SHIFT_S), case.duration_s))


def _beyond(case: Case, rng: random.Random) -> Plan | None:
    return _one(case, rng, lambda _: round(case.duration_s + rng.uniform(0.5, 20.0), 2))


def _without_one(case: Case, rng: random.Random) -> Plan | None:
    return _one(case, rng, lambda _: None)


def _without_half(case: Case, rng: random.Random) -> Plan | None:
    story, n_before = case.story, _n_onsets(case.story)
    while story.sources and _n_onsets(story) > n_before // 2:
        index = rng.randrange(len(story.sources))
        onsets_s = list(story.sources[index].onsets_s)
        if onsets_s:
            onsets_s.pop(rng.randrange(len(onsets_s)))
        story = _with_onsets(story, index, tuple(onsets_s))
    return case.told(story, "temporal") if n_before else None


def _invented(case: Case, rng: random.Random) -> Plan | None:
    onsets_s = sorted(round(rng.uniform(0.2, 0.95) * case.duration_s, 2) for _ in range(2))
    stranger = Source(rng.choice(STRANGERS), tuple(onsets_s), azimuth_deg=(float(rng.randint(-60, 60)),) * 2)
    plan = case.told(replace(case.story, sources=(*case.story.sources, stranger)), "temporal", "spatial")
    return plan.replace({"semantic": f"{plan.get('semantic', '')} A {stranger.what} is heard twice.".strip()})


def _of_another_clip(case: Case, rng: random.Random) -> Plan | None:
    return case.other


def _turned(case: Case, change: Callable[[Source], Source]) -> Plan | None:
    sources = tuple(map(change, case.story.sources))
    return case.told(replace(case.story, sources=sources), "spatial")


def _is_aside(source: Source) -> bool:
    return source.azimuth_deg is not None and min(map(abs, source.azimuth_deg)) >= SIDE_DEG


def _mirrored(case: Case, rng: random.Random) -> Plan | None:
    if not any(map(_is_aside, case.story.sources)):
        return None

    def mirror(source: Source) -> Source:
        if source.azimuth_deg is None:
            return source
        return replace(source, azimuth_deg=(-source.azimuth_deg[0], -source.azimuth_deg[1]))

    return _turned(case, mirror)


def _swapped(case: Case, rng: random.Random) -> Plan | None:
    aside = [source for source in case.story.sources if _is_aside(source) and source.azimuth_deg]
    left = [source for source in aside if source.azimuth_deg and max(source.azimuth_deg) < 0]
    right = [source for source in aside if source.azimuth_deg and min(source.azimuth_deg) > 0]
    if not left or not right:
        return None
    one, two = rng.choice(left), rng.choice(right)
    swap = {one.what: two.azimuth_deg, two.what: one.azimuth_deg}
    return _turned(case, lambda source: replace(source, azimuth_deg=swap.get(source.what, source.azimuth_deg)))


def _replaced(texts: tuple[str, ...]) -> Callable[[Case, random.Random], Plan | None]:
    """One of the sections is another text."""
    return lambda case, rng: case.with_text(rng.choice(list(case.plan)), rng.choice(texts))


def _added(texts: tuple[str, ...], *names: str) -> Callable[[Case, random.Random], Plan | None]:
    """A sentence before or after the text of a section."""

    def change(case: Case, rng: random.Random) -> Plan | None:
        name = rng.choice([name for name in case.plan if name in names] or list(case.plan))
        parts = [rng.choice(texts).format(id=case.clip_id), case.plan[name]]
        return case.with_text(name, " ".join(parts[:: rng.choice((1, -1))]))

    return change


def _foreign(case: Case, rng: random.Random) -> Plan | None:
    name = rng.choice([name for name in case.plan if name in FOREIGN])
    return case.with_text(name, FOREIGN[name])


def _too_long(case: Case, rng: random.Random) -> Plan | None:
    name = rng.choice(list(case.plan))
    words = case.plan[name].split() or ["sound"]
    return case.with_text(name, " ".join(rng.choice(words) for _ in range(rng.randint(200, 2_000))))


def _marked_up(case: Case, rng: random.Random) -> Plan | None:
    name = rng.choice(list(case.plan))
    form = rng.choice(('{{"{name}": "{text}"}}', "**{name}** {text}", "```\n{text}\n```", "# {name}\n{text}"))
    return case.with_text(name, form.format(name=name, text=case.plan[name]))


def _without_section(case: Case, rng: random.Random) -> Plan | None:
    name = rng.choice(list(case.plan))
    return Plan({other: text for other, text in case.plan.items() if other != name})


def _wrong_count(case: Case, rng: random.Random) -> Plan | None:
    timed = [source for source in case.story.sources if source.onsets_s and source.end_s is None]
    if not timed or not case.plan.get("semantic"):
        return None
    source = rng.choice(timed)
    said = f"The {source.what} is heard {len(source.onsets_s) + rng.choice((2, 3, 7))} times."
    others = [other for other in case.story.sources if other.what != source.what]
    return case.with_text("semantic", " ".join([said, *(f"The {other.what} is heard." for other in others)]))


ERRORS: Mapping[str, tuple[str, Callable[[Case, random.Random], Plan | None]]] = {
    "all times shifted": ("OnsetGate", _shifted),
    "one time shifted": ("OnsetGate", _one_shifted),
    "time beyond the end": ("OnsetGate", _beyond),
    "one event missing": ("OnsetGate", _without_one),
    "half of the events missing": ("OnsetGate", _without_half),
    "invented source": ("OnsetGate", _invented),
    "plan of another clip": ("OnsetGate", _of_another_clip),
    "mirrored sides": ("SideGate", _mirrored),
    "swapped sides": ("SideGate", _swapped),
    "refusal": ("LeakGate", _replaced(REFUSALS)),
    "mention of the video": ("LeakGate", _added(MENTIONS)),
    "file name": ("LeakGate", _added(("The file sound_0412.mp4 is heard.", "As in IMG-2041.wav."))),
    "id of the clip": ("LeakGate", _added(("In {id}, it is heard.", "{id}"))),
    "other language": ("SectionGate", _foreign),
    "empty section": ("SectionGate", _replaced(("", " ", "...", "-"))),
    "missing section": ("SectionGate", _without_section),
    "too long": ("SectionGate", _too_long),
    "markup": ("SectionGate", _marked_up),
    "source of one section only": (
        "ContradictionGate",
        _added(tuple(f"The {what} is on the left (azimuth -30°)." for what in STRANGERS), "spatial"),
    ),
    "wrong count": ("ContradictionGate", _wrong_count),
    "speech claim": ("SpeechClaimGate", _added(SPEECH, "semantic")),
}
"""The gate that should reject it, and the function that plants it, by the name of the error."""


def plant(
    plan: Plan,
    rng: random.Random,
    *,
    duration_s: float,
    clip_id: str = "clip_0412",
    other: Plan | None = None,
    name: str | None = None,
) -> tuple[str, Plan, str]:
    """Plant an error in a true plan.

    Args:
        plan: The plan.
        rng: Selects the error and its place.
        duration_s: Duration of the clip in seconds.
        clip_id: The name of the clip, for leaks.
        other: The plan of another clip; None to plant no plan of another clip.
        name: The error; None to select one of those for which the plan has a place.

    Returns:
        The name of the error, the plan with it, and the gate that should reject it.

    Raises:
        LookupError: The plan has no place for this error.
    """
    case = Case(plan, duration_s, clip_id, other)
    names = rng.sample(list(ERRORS), len(ERRORS)) if name is None else [name]
    for candidate in names:
        gate, change = ERRORS[candidate]
        changed = change(case, rng)
        if changed is not None and dict(changed) != dict(plan):
            return candidate, changed, gate
    raise LookupError(f"the plan has no place for {name or 'any error'}")
