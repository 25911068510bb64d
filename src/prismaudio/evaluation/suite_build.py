"""Building a suite: clips are left out step by step, the rest is balanced over classes, and the clips get ids."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from prismaudio.errors import DataError, first_of
from prismaudio.evaluation.selection import (
    MULTI,
    SINGLE,
    Candidate,
    Condition,
    anonymous_ids,
    balance,
    events_of,
    solved_clips,
)

if TYPE_CHECKING:
    from prismaudio.evaluation.ontology import Ontology
    from prismaudio.evaluation.screening import Decision
    from prismaudio.evaluation.suite_clips import SuiteClip
    from prismaudio.scorers import Score

VOICE = (
    *("Human voice", "Vocal music", "A capella", "Song", "Beatboxing"),
    *("Chatter", "Hubbub, speech noise, speech babble"),
)
"""Classes of AudioSet with speech and singing, with what is narrower."""
VOICE_LABELS = (
    *("*speech*", "*speaking*", "*conversation*", "*narration*", "*whispering*", "*babbling*", "*vocal music*"),
    *("singing", "* singing", "rapping", "*choir*", "chant", "mantra", "yodel*", "beatbox*", "chatter", "human voice"),
)
"""Names of speech and singing in other lists of labels."""
Scores = Mapping[str, Mapping[str, Mapping[str, float]]]
"""System → clip → scorer → value."""
Hearing = Callable[[Sequence["SuiteClip"]], Mapping[str, Mapping[str, "Score"]]]
"""Scores the sound of clips: clip → scorer → score."""


@dataclass(frozen=True)
class BuildOptions:
    """How a suite is built.

    Args:
        per_class: Most single-event clips of a class, and most multi-event clips in which it occurs.
        min_per_class: Single-event clips of a class with fewer are left out.
        n_multi: Most multi-event clips; None for no limit of their own.
        seed: Seed of the choice.
        exclude: Ids, names or patterns of classes whose clips are left out, with what is narrower.
        solved: Conditions on the scores of systems; clips for which all hold are left out.
        solved_by: Whether every system must solve a clip, or any.
        heard: Conditions on the scores of the clips' own sound; clips for which one holds are left out.
        arguments: Arguments of the classes of these scores, by class.
        only_kept: Whether only clips that a person has kept may be chosen.
    """

    per_class: int = 10
    min_per_class: int = 1
    n_multi: int | None = None
    seed: int = 0
    exclude: Sequence[str] = VOICE
    solved: Sequence[Condition] = ()
    solved_by: Literal["all", "any"] = "all"
    heard: Sequence[Condition] = ()
    arguments: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    only_kept: bool = False

    def describe(self) -> dict[str, Any]:
        """The options as JSON types, without the folders of files."""
        return {
            **vars(self),
            "exclude": list(self.exclude),
            "solved": list(map(str, self.solved)),
            "heard": list(map(str, self.heard)),
            "arguments": {
                scorer: {name: _without_folder(value) for name, value in given.items()}
                for scorer, given in self.arguments.items()
            },
        }


def _without_folder(value: Any) -> Any:
    return Path(value).name if isinstance(value, str) and Path(value).exists() else value


@dataclass
class Step:
    """A step of the build.

    Args:
        name: What it is.
        n_before: Number of clips before it.
        dropped: Why it left clips out, by their ids.
    """

    name: str
    n_before: int
    dropped: dict[str, str]


@dataclass
class BuiltSuite:
    """A suite with how it came about.

    Args:
        steps: The steps, in order.
        clips: Its clips by their new ids, in the order of these.
        spare: The clips that take the place of others if a person drops these.
        before: Clips of each class in the manifest.
        left: Clips of each class that no step but the balance left out.
        excluded: Clips by excluded class.
        solved: Number of clips that each system solves.
        notes: What a reader must know.
    """

    steps: list[Step] = field(default_factory=list)
    clips: dict[str, SuiteClip] = field(default_factory=dict)
    spare: list[SuiteClip] = field(default_factory=list)
    before: Counter[str] = field(default_factory=Counter)
    left: Counter[str] = field(default_factory=Counter)
    excluded: Counter[str] = field(default_factory=Counter)
    solved: dict[str, int] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def drop(self, clips: Sequence[SuiteClip], step: str, why: Mapping[str, str]) -> list[SuiteClip]:
        """Note a step, and return the clips that it leaves.

        Args:
            clips: The clips before it.
            step: What it is.
            why: Why clips are left out, by their ids; others than those before it do not count.
        """
        dropped = {clip.id: why[clip.id] for clip in clips if clip.id in why}
        self.steps.append(Step(step, len(clips), dropped))
        return [clip for clip in clips if clip.id not in dropped]

    def counts(self, events: str) -> Counter[str]:
        """Clips of each class that have one event, or several."""
        return Counter(name for clip in self.clips.values() if events_of(clip.names) == events for name in clip.names)

    def describe(self, per_class: int) -> dict[str, Any]:
        """The steps and classes as JSON types.

        Args:
            per_class: Most clips of a class; classes with fewer are listed.
        """
        single, multi = self.counts(SINGLE), self.counts(MULTI)
        return {
            "steps": [
                {"step": step.name, "before": step.n_before, "left_out": len(step.dropped)} for step in self.steps
            ],
            "clips": len(self.clips),
            "single": sum(events_of(clip.names) == SINGLE for clip in self.clips.values()),
            "multi": sum(events_of(clip.names) == MULTI for clip in self.clips.values()),
            "classes": {
                name: {"before": n, "left": self.left[name], "single": single[name], "multi": multi[name]}
                for name, n in sorted(self.before.items())
            },
            "few": sorted(name for name in self.left if single[name] < per_class),
            "lost": sorted(self.before.keys() - self.left.keys() - self.excluded.keys()),
            "excluded": dict(sorted(self.excluded.items())),
            "solved_by_system": self.solved,
            "notes": self.notes,
        }


def build_suite(
    clips: Sequence[SuiteClip], ontology: Ontology, options: BuildOptions, systems: Scores,
    hear: Hearing, decisions: Mapping[str, Decision],
) -> BuiltSuite:  # fmt: skip
    """Leave out clips step by step, balance the others, and give them ids.

    Args:
        clips: The clips of the manifest.
        ontology: Their classes.
        options: How the suite is built.
        systems: Scores of systems on the clips.
        hear: Scores the sound of the clips that are left by then; not called without a condition.
        decisions: Decisions of a person by the ids of clips.

    Raises:
        DataError: No clip is left, or a score of a condition is nowhere.
    """
    found = BuiltSuite(before=Counter(name for clip in clips for name in clip.names))
    rest = found.drop(clips, "groups of classes", _without_class(clips, ontology))
    rest = found.drop(rest, "excluded classes", _excluded(rest, ontology, options.exclude, found.excluded))
    if options.solved:
        _check_conditions(systems, options.solved)
        found.notes += _unscored(rest, systems)
        alone = {system: solved_clips({system: systems[system]}, options.solved, "all") for system in systems}
        found.solved = {system: sum(clip.id in by for clip in rest) for system, by in alone.items()}
        by = solved_clips(systems, options.solved, options.solved_by)
        rest = found.drop(rest, "solved by systems", {name: f"solved by {who}" for name, who in by.items()})
    if options.heard:
        rest = found.drop(rest, "heard in their sound", _heard(hear(rest), options.heard))
    said = {name: one.reason for name, one in decisions.items() if not one.keep}
    if decisions or options.only_kept:
        if options.only_kept:
            said |= {clip.id: "nobody has kept it" for clip in rest if clip.id not in decisions}
        rest = found.drop(rest, "screening", said)
    found.left = Counter(name for clip in rest for name in clip.names)
    chosen = balance(
        [Candidate(clip.id, clip.names, clip.id in decisions) for clip in rest],
        options.per_class, options.n_multi, options.min_per_class, options.seed,
    )  # fmt: skip
    found.drop(rest, "balance of classes", chosen.left)
    by_id = {clip.id: clip for clip in rest}
    names = anonymous_ids(chosen.chosen)
    found.clips = {names[one.id]: by_id[one.id] for one in chosen.chosen}
    found.spare = [by_id[one.id] for one in chosen.spare]
    if not found.clips:
        said_steps = "; ".join(f"{step.name}: {len(step.dropped)}" for step in found.steps if step.dropped)
        raise DataError(f"no clip is left of {len(clips)}; {said_steps}")
    return found


def _without_class(clips: Sequence[SuiteClip], ontology: Ontology) -> dict[str, str]:
    """Clips whose labels say no more than that they belong to a group of classes."""
    return {
        clip.id: f"{ontology.names[group]} is a group of classes and no class"
        for clip in clips
        if (group := next(iter(sorted(clip.classes & ontology.groups)), None)) is not None
    }


def _excluded(
    clips: Sequence[SuiteClip], ontology: Ontology, patterns: Sequence[str], counts: Counter[str]
) -> dict[str, str]:
    """Clips with an excluded class; counts the clips of each.

    Raises:
        DataError: A pattern that is no default matches no class.
    """
    found = {pattern: ontology.matching(pattern) for pattern in patterns}
    if unknown := [
        pattern for pattern, classes in found.items() if not classes and pattern not in (*VOICE, *VOICE_LABELS)
    ]:
        raise DataError(f"--exclude {unknown[0]!r} is no class; expected an id, a name, or a pattern such as *singing*")
    excluded = frozenset().union(*found.values()) if found else frozenset()
    why = {}
    for clip in clips:
        if of_clip := sorted(ontology.names[one] for one in clip.classes & excluded):
            counts.update(of_clip)
            why[clip.id] = f"{of_clip[0]} is excluded"
    return why


def _check_conditions(systems: Scores, conditions: Sequence[Condition]) -> None:
    """Check that every system has each score of the conditions.

    Raises:
        DataError: One has not.
    """
    for system, clips in systems.items():
        names = sorted({name for scores in clips.values() for name in scores})
        for condition in conditions:
            if condition.name not in names:
                near = get_close_matches(condition.name, names, n=1)
                hint = f"did you mean {near[0]!r}?" if near else f"it has {first_of(names, 8) or 'none'}"
                raise DataError(f"--solved {condition}: {system} has no score {condition.name!r}; {hint}")


def _unscored(clips: Sequence[SuiteClip], systems: Scores) -> list[str]:
    """A line for each system without a score of some clips."""
    lacking = {system: sum(clip.id not in scores for clip in clips) for system, scores in systems.items()}
    return [
        f"{system} has no score of {n} of {len(clips)} clips; it solves none of them"
        for system, n in lacking.items()
        if n
    ]


def _heard(scores: Mapping[str, Mapping[str, Score]], conditions: Sequence[Condition]) -> dict[str, str]:
    """Clips for which a condition on their own sound holds, or whose sound has no score.

    Raises:
        DataError: No clip has a score of a condition.
    """
    why: dict[str, str] = {}
    for condition in conditions:
        reasons = {}
        for name, of_clip in scores.items():
            score = of_clip.get(condition.name)
            if score is None or score.value is None:
                reasons[name] = f"{condition.name} has no value: {'not scored' if score is None else score.reason}"
            elif condition.holds(score.value):
                why.setdefault(name, f"{condition} is {score.value:.4g}")
        if scores and len(reasons) == len(scores):
            raise DataError(f"--heard {condition}: no clip has a value; the first: {next(iter(reasons.values()))}")
        why = reasons | why
    return why
