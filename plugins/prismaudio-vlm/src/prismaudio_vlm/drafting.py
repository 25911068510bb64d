"""The plan of a clip while a model writes it, and the questions for its sections."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from prismaudio.errors import PlanError, PrismAudioError
from prismaudio.plan import Plan
from prismaudio.plan.checking import MAX_WORDS, contradictions, section_problems
from prismaudio.plan.quantities import times
from prismaudio.plan.reading import sentences
from prismaudio.plan.sections import tag
from prismaudio.planners.base import Annotation
from prismaudio_vlm.asking import read_sections, tidy
from prismaudio_vlm.chat import AUDIO_RATE_HZ, Answer, Question, View
from prismaudio_vlm.viewing import Change, Segment, Watched, audio_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from torch import Tensor

    from prismaudio.components import Dimension
    from prismaudio.types import Clip
    from prismaudio_vlm.planner import ChatPlanner
    from prismaudio_vlm.viewing import Viewing

SLACK_S = 0.05
"""How much earlier than its segment a time may be."""
WHOLE, MOMENT = "The whole, from its start to its end", "A moment of change, up to {:g} frames per second"
"""Labels of views."""
MAX_SHOWN = 2000
"""Maximum number of characters of a wrong answer that are sent back."""


@dataclass
class Record:
    """What is recorded about the answers for one section."""

    asked: int = 0
    prompt_tokens: int = 0
    tokens: int = 0
    seconds: float = 0.0

    def add(self, answer: Answer | PrismAudioError, seconds: float, n_sections: int = 1) -> None:
        """Count an answer, or an error, that is shared by several sections."""
        self.asked += 1
        self.seconds += seconds / n_sections
        if isinstance(answer, Answer):
            self.prompt_tokens += answer.prompt_tokens // n_sections
            self.tokens += answer.tokens // n_sections

    def origin(self, planner: ChatPlanner, *dimensions: Dimension) -> dict[str, Any]:
        """What is recorded about the answers, as data for JSON files."""
        return {
            "model": planner.model_name,
            "settings": planner.identity,
            "prompt": planner.prompts.label_of(*dimensions),
            **vars(self),
            "seconds": round(self.seconds, 3),
        }


def shown_with_moments(
    watched: Watched, whole: Sequence[list[float]], moments: Sequence[list[float]], viewing: Viewing
) -> Iterator[View]:
    """The whole, and its moments of change; where one moment has all times of the whole, that alone."""
    if len(moments) == 1 and whole and moments[0][0] <= whole[0][0] and moments[0][-1] >= whole[0][-1]:
        yield watched.view([*whole[0], *moments[0]], WHOLE)
        return
    for times_s in whole:
        yield watched.view(times_s, WHOLE)
    for times_s in moments:
        yield watched.view(times_s, MOMENT.format(viewing.moment_fps))


class Draft:
    """The plan of a clip while it is written.

    Args:
        clip: The clip.
        dimensions: The dimensions of its sections.
        given: A prompt, or sections that are kept.
        planner: The planner that asks.
        cot: A chain of thought that is split into the sections, instead of a look at the clip; empty for none.

    Attributes:
        missing: The dimensions without a given section.
        segments: The parts of the clip that are planned one by one.
        written: The sections of each segment, by name; given sections are those of every segment.
        left_out: Why a segment has no section, by name.
    """

    def __init__(
        self,
        clip: Clip,
        dimensions: Sequence[Dimension],
        given: str | Plan | None,
        planner: ChatPlanner,
        cot: str = "",
    ) -> None:
        if clip.frames is None and given is None and not cot:
            raise PlanError(f"clip {clip.id} has no frames and no prompt or plan; give at least one of them")
        self.clip, self.planner, self.cot = clip, planner, cot
        self.given = Plan({"semantic": given}) if isinstance(given, str) else given or Plan({})
        self.dimensions = list(dimensions)
        self.missing = [dimension for dimension in dimensions if not self.given.get(dimension.name)]
        self.warnings = list(self.given.warnings)
        self.written: list[dict[str, str]] = [{name: text for name, text in self.given.items() if text}]
        self.left_out: dict[str, dict[int, str]] = {}
        self.unanswered: dict[str, str] = {}
        self.records: dict[str, Record] = {}
        if cot:
            self.segments, self.audio = [Segment(0.0, clip.duration_s)], None
            return
        change = Change.of(clip)
        self.segments = planner.viewing.segments(clip.duration_s, change) if self.missing else []
        self.written = [{name: text for name, text in self.given.items() if text} for _ in self.segments]
        self._times_s = [self._watched_times(segment, change) for segment in self.segments]
        every_s = {t for views in self._times_s for times_s in views.values() for view in times_s for t in view}
        self._watched = Watched(clip, every_s, planner.viewing.frame_size)
        self.audio = audio_of(clip) if planner.hear and self.missing else None
        if planner.hear and self.missing and self.audio is None:
            self.warnings.append("the clip has no audio to hear; the plan is written from its frames")

    def _watched_times(self, segment: Segment, change: Change) -> dict[str, list[list[float]]]:
        if self.clip.frames is None:
            return {"whole": [], "moments": []}
        viewing = self.planner.viewing
        return {
            "whole": [viewing.whole(segment)],
            "moments": viewing.moments(segment, change) if self.planner.shows_moments else [],
        }

    def views(self, number: int, dimensions: Sequence[Dimension]) -> tuple[View, ...]:
        """The frames of a segment that the sections of some dimensions need."""
        times_s, viewing = self._times_s[number], self.planner.viewing
        kinds = {self.planner.prompts.section(dimension).views for dimension in dimensions}
        whole = [self._watched.view(times, WHOLE) for times in times_s["whole"]]
        if "moments" not in kinds:
            return tuple(whole)
        return tuple(shown_with_moments(self._watched, times_s["whole"], times_s["moments"], viewing))

    def audio_at(self, number: int) -> Tensor | None:
        """The audio of a segment."""
        if self.audio is None:
            return None
        start_s, end_s = self.segments[number]
        return self.audio[round(start_s * AUDIO_RATE_HZ) : round(end_s * AUDIO_RATE_HZ)]

    def plan(self) -> Plan:
        """The plan: given sections verbatim, others joined from those of the segments."""
        texts = {name: text for name, text in self.given.items() if text}
        origins: dict[str, Mapping[str, Any]] = {}
        warnings = list(self.warnings)
        for dimension in self.missing:
            name = dimension.name
            parts = [written[name] for written in self.written if written.get(name)]
            if parts:
                texts[name] = " ".join(dict.fromkeys(parts))
                origins[name] = self.records[name].origin(self.planner, dimension)
            warnings += self._reasons(name)
        plan = Plan(texts, warnings, origins, self.unanswered)
        if len(self.segments) < 2:
            return plan
        planner = type(self.planner).__name__
        joined = [f"the segments of the plan of {planner} contradict each other: {one}" for one in contradictions(plan)]
        return Plan(plan, [*warnings, *joined], origins, self.unanswered)

    def _reasons(self, name: str) -> Iterator[str]:
        planner, failed = type(self.planner).__name__, self.left_out.get(name, {})
        if not failed:
            return
        where = ""
        if len(failed) < len(self.segments):
            parts = (self.segments[number] for number in sorted(failed))
            where = " from " + ", ".join(f"{part.start_s:g} to {part.end_s:g} s" for part in parts)
        yield f"{planner} left out the {name} section{where}: {'; '.join(dict.fromkeys(failed.values()))}"


@dataclass
class SectionRequest:
    """One question about a segment, for the sections of some dimensions."""

    draft: Draft
    number: int
    dimensions: list[Dimension]
    corrections: list[tuple[str, str]] = field(default_factory=list)
    problems: dict[str, list[str]] = field(default_factory=dict)
    waiting: list[str] = field(default_factory=list)
    _question: Question | None = None

    def __post_init__(self) -> None:
        self.waiting = [dimension.name for dimension in self.dimensions]

    @property
    def is_waiting(self) -> bool:
        """Whether a section has no answer yet that is kept or given up."""
        return bool(self.waiting)

    def question(self) -> Question:
        """The question, with the corrections of earlier answers."""
        draft, prompts = self.draft, self.draft.planner.prompts
        if self._question is None and draft.cot:
            text = prompts.decoupling(self.dimensions, draft.cot, draft.clip.duration_s)
            self._question = Question(prompts.texts["system"], (), text)
        elif self._question is None:
            views = draft.views(self.number, self.dimensions)
            audio = draft.audio_at(self.number)
            segment = draft.segments[self.number] if len(draft.segments) > 1 else None
            text = prompts.question(
                self.dimensions,
                {
                    name: draft.written[self.number][name]
                    for name in self._order()
                    if name in draft.written[self.number]
                },
                draft.clip.duration_s,
                segment,
                sees=any(len(view.times_s) for view in views),
                hears=audio is not None,
            )
            self._question = Question(prompts.texts["system"], views, text, audio)
        corrections = tuple((answer, prompts.correction([wrong])) for answer, wrong in self.corrections)
        return replace(self._question, corrections=corrections)

    def _order(self) -> list[str]:
        return [dimension.name for dimension in self.draft.dimensions]

    def accept(self, answer: Answer | PrismAudioError, seconds: float, *, is_last: bool) -> None:
        """Take an answer: keep its valid sections, and note what is wrong with the others."""
        names = list(self.waiting)
        records = [self.draft.records.setdefault(name, Record()) for name in names]
        for record in records:
            record.add(answer, seconds, len(names))
        if isinstance(answer, PrismAudioError):
            self.problems = {name: [str(answer)] for name in names}
            self.draft.unanswered |= dict.fromkeys(names, str(answer))
            self.waiting = []
            return
        found = read_sections(answer.text, self._order(), names)
        for name in names:
            problems = self._check(name, found.get(name), is_complete=answer.is_complete)
            soft = [] if problems else self._contradictions(name, found[name])
            if not problems and (not soft or is_last):
                self.draft.written[self.number][name] = found[name]
                self.waiting.remove(name)
                self.problems.pop(name, None)
                if soft:
                    self.draft.warnings.append(f"the {name} section contradicts another one: {'; '.join(soft)}")
            else:
                self.problems[name] = problems or soft
        if self.waiting:
            wrong = "; ".join(self._described(name) for name in self.waiting)
            self.corrections.append((answer.text[:MAX_SHOWN], wrong))

    def _described(self, name: str) -> str:
        text = "; ".join(self.problems[name])
        return text if len(self.dimensions) == 1 else f"the {name} section: {text}"

    def _check(self, name: str, text: str | None, *, is_complete: bool) -> list[str]:
        if not text:
            return ["it is empty" if text == "" else f"the answer has no {tag(name)} section"]
        segment = self.draft.segments[self.number]
        problems = section_problems(name, text, segment.end_s)
        if not is_complete and not problems and text[-1] not in ".!?":
            problems = ["it is cut off because it is too long"]
        stated = [value for sentence in sentences(text) for value in times(sentence) if value.role != "for"]
        early_s = [value.number for value in stated if value.number < segment.start_s - SLACK_S]
        if early_s:
            problems.append(f"it has a time at {early_s[0]:.2f} s, but the part begins at {segment.start_s:.2f} s")
        try:
            Plan(self.draft.written[self.number]).replace({name: text}).check(segment.end_s)
        except PlanError as error:
            problems = problems or [str(error)]
        return problems

    def _contradictions(self, name: str, text: str) -> list[str]:
        before = Plan(self.draft.written[self.number])
        known = contradictions(before)
        return [found for found in contradictions(before.replace({name: text})) if found not in known]

    def give_up(self) -> None:
        """Note why sections are left out."""
        for name, problems in self.problems.items():
            asked = self.draft.records[name].asked
            tries = f" (after {asked} answers)" if asked > 1 and len(self.draft.segments) == 1 else ""
            self.draft.left_out.setdefault(name, {})[self.number] = f"{'; '.join(problems)}{tries}"


class Thought:
    """The chain of thought of a clip while a model writes it: one question, with all that there is to see and hear.

    Args:
        clip: The clip.
        dimensions: The dimensions that it covers.
        caption: What is known about the clip; empty for nothing.
        planner: The planner that asks.

    Raises:
        PlanError: There is nothing to see, to hear or to read.
    """

    def __init__(self, clip: Clip, dimensions: Sequence[Dimension], caption: str, planner: ChatPlanner) -> None:
        self.clip, self.dimensions, self.caption, self.planner = clip, list(dimensions), caption, planner
        self.audio = audio_of(clip) if planner.hear else None
        self.warnings: list[str] = []
        if clip.frames is None and self.audio is None and not caption:
            raise PlanError(
                f"clip {clip.id} has nothing to annotate: no frames, no caption, and no audio that is heard"
            )
        if planner.hear and self.audio is None:
            self.warnings.append("the clip has no audio to hear; its chain of thought is written without it")
        self.record = Record()
        self.text = self.unanswered = ""
        self.is_waiting = True
        self._corrections: list[tuple[str, str]] = []
        self._question: Question | None = None

    def question(self) -> Question:
        """The question, with the corrections of earlier answers."""
        if self._question is None:
            views, prompts = tuple(self._views()), self.planner.prompts
            text = prompts.annotation(
                self.dimensions,
                self.caption,
                self.clip.duration_s,
                sees=any(len(view.times_s) for view in views),
                hears=self.audio is not None,
            )
            self._question = Question(prompts.texts["system"], views, text, self.audio)
        return replace(self._question, corrections=tuple(self._corrections))

    def _views(self) -> Iterator[View]:
        """The whole of the clip, and its moments of change."""
        if self.clip.frames is None:
            return
        planner, whole = self.planner, Segment(0.0, self.clip.duration_s)
        times_s = planner.viewing.whole(whole)
        moments = planner.viewing.moments(whole, Change.of(self.clip)) if planner.shows_moments else []
        watched = Watched(self.clip, {t for some in (times_s, *moments) for t in some}, planner.viewing.frame_size)
        yield from shown_with_moments(watched, [times_s], moments, planner.viewing)

    def accept(self, answer: Answer | PrismAudioError, seconds: float, *, is_last: bool) -> None:
        """Take an answer: keep it if it is valid, else ask again with what is wrong with it."""
        self.record.add(answer, seconds)
        if isinstance(answer, PrismAudioError):
            self.unanswered, self.is_waiting = str(answer), False
            return
        text = tidy(answer.text)
        problems = self._problems(text)
        if not answer.is_complete and not problems and text[-1] not in ".!?":
            problems = ["it is cut off because it is too long"]
        if not problems:
            self.text, self.is_waiting = text, False
        elif is_last:
            self.is_waiting = False
            self.warnings.append(
                f"{type(self.planner).__name__} wrote no chain of thought: {'; '.join(problems)} "
                f"(after {self.record.asked} answers)"
            )
        else:
            correction = self.planner.prompts.correction(problems)
            self._corrections.append((answer.text[:MAX_SHOWN], correction))

    def _problems(self, text: str) -> list[str]:
        """What is wrong with the text: it is too long for its sections, or a part of it would be no section."""
        n_words, max_words = len(text.split()), MAX_WORDS * len(self.dimensions)
        if n_words > max_words:
            return [f"it has {n_words} words; at most {max_words} are allowed"]
        parts = [""]
        for sentence in sentences(text):
            longer = f"{parts[-1]} {sentence}".strip()
            parts[-1:] = [longer] if not parts[-1] or len(longer.split()) <= MAX_WORDS else [parts[-1], sentence]
        found = (section_problems("text", part, self.clip.duration_s) for part in parts)
        return list(dict.fromkeys(problem for problems in found for problem in problems))

    def annotation(self) -> Annotation:
        """The chain of thought, with what is recorded about it."""
        origin = self.record.origin(self.planner, *self.dimensions)
        return Annotation(self.text, origin, tuple(self.warnings), self.unanswered)
