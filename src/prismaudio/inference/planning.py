"""Plans from the planner, from the user, or from the user and completed by the planner."""

from __future__ import annotations

from typing import TYPE_CHECKING, ParamSpec, TypeVar

from prismaudio.errors import PlanError, first_of, truncated
from prismaudio.plan import CORE, Plan
from prismaudio.plan.nouns import Nouns

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from prismaudio.components import Dimension
    from prismaudio.encoders.base import Encoder
    from prismaudio.planners.base import Planner
    from prismaudio.types import Clip

P = ParamSpec("P")
T = TypeVar("T")

USER, DEFAULT = {"planner": "user"}, {"planner": "default"}
"""Origins of sections that no planner wrote."""
MAX_QUOTED, MAX_LETTERS, MAX_NAMED = 3, 60, 20
"""Limits of a warning about unknown text: number of clauses, characters of each, and listed vocabulary."""


def write_plan(
    planners: Iterable[Planner],
    clip: Clip,
    dimensions: Sequence[Dimension],
    given: Plan | None = None,
    prompt: str = "",
) -> Plan:
    """Write the plan of a clip; given sections and the prompt are kept.

    Args:
        planners: Write missing sections, each those that the ones before it left out; without any, the given sections
            are the plan. A planner is taken from the iterable when it is needed.
        clip: The clip.
        dimensions: The dimensions of a plan, in order; sections that no planner writes get their defaults.
        given: Sections that are kept.
        prompt: Text of the semantic section.

    Returns:
        The plan, with the origin of each section: ``"user"``, the class of its planner, or ``"default"``.

    Raises:
        PlanError: There is no video, plan or prompt, a planner got no answer from its model, or an event is after the
            end of the clip.
    """
    made = write_plans(planners, [clip], dimensions, [given], [prompt])[0]
    if isinstance(made, Exception):
        raise made
    return made


def write_plans(
    planners: Iterable[Planner],
    clips: Sequence[Clip],
    dimensions: Sequence[Dimension],
    given: Sequence[Plan | None],
    prompts: Sequence[str],
) -> list[Plan | Exception]:
    """Write the plans of several clips, as :func:`write_plan` does; a planner is given them together.

    Args:
        planners: See :func:`write_plan`.
        clips: The clips.
        dimensions: See :func:`write_plan`.
        given: Sections of each plan that are kept.
        prompts: Text of the semantic section of each plan; empty for none.

    Returns:
        The plan of each clip, or the error because of which it has none.
    """
    drafts = [_Draft(clip, one, prompt) for clip, one, prompt in zip(clips, given, prompts, strict=True)]
    every = iter(planners)
    while waiting := [draft for draft in drafts if draft.is_waiting(dimensions)]:
        planner = _attempt(next, every, None)  # that of the model is loaded here
        if planner is None:
            break
        if isinstance(planner, Exception):
            for draft in waiting:
                draft.error = planner
            break
        for draft, written in zip(waiting, _written(planner, waiting, dimensions), strict=True):
            draft.accept(written, type(planner).__name__)
    return [_attempt(draft.finished, dimensions) for draft in drafts]


def _written(planner: Planner, drafts: Sequence[_Draft], dimensions: Sequence[Dimension]) -> list[Plan | Exception]:
    """What a planner writes for drafts together, or, where that fails, for each, so that a bad clip fails alone."""
    if len(drafts) == 1:
        return [_attempt(planner.plan, drafts[0].clip, dimensions, drafts[0].request)]
    together = [draft.clip for draft in drafts], dimensions, [draft.request for draft in drafts]
    made = _attempt(planner.plan_batch, *together)
    if isinstance(made, Exception) or len(made) != len(drafts):
        return [_written(planner, [draft], dimensions)[0] for draft in drafts]
    return [*made]


def _attempt(action: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T | Exception:
    try:
        return action(*args, **kwargs)
    except Exception as error:  # noqa: BLE001 - a planner of a plugin may raise anything
        return error


class _Draft:
    """The plan of a clip while planners write it.

    Args:
        clip: The clip.
        given: Sections that are kept.
        prompt: Text of the semantic section.
    """

    def __init__(self, clip: Clip, given: Plan | None, prompt: str) -> None:
        self.clip, self.given, self.is_planned = clip, given, False
        self.request: str | Plan | None = given
        if prompt:
            self.request = prompt if given is None else given.replace({"semantic": prompt})
        plan = Plan({"semantic": self.request} if isinstance(self.request, str) else self.request or {})
        self.plan = Plan(plan, () if given is None else given.warnings, dict.fromkeys(plan, USER))
        self.error: Exception | None = None
        if self.request is None and clip.frames is None:
            self.error = PlanError("there is nothing to plan from; give a video, a plan or a prompt")

    def is_waiting(self, dimensions: Sequence[Dimension]) -> bool:
        """Whether the next planner is to write sections."""
        return self.error is None and (not self.is_planned or bool(_missing(self.plan, dimensions)))

    def accept(self, written: Plan | Exception, planner: str) -> None:
        """Take what a planner wrote, or why it wrote nothing."""
        if isinstance(written, Exception):
            self.error = written
            return
        if written.unanswered:
            why = "; ".join(dict.fromkeys(written.unanswered.values()))
            self.error = PlanError(
                f"{planner} got no answer for the {', '.join(written.unanswered)} section: {why}; other answers are "
                "kept"
            )
            return
        if self.is_planned:  # what an earlier planner wrote is not edited
            written = written.replace({name: text for name, text in self.plan.items() if text})
        self.plan = self.request = _attributed(self.plan, written, planner)
        self.is_planned = True

    def finished(self, dimensions: Sequence[Dimension]) -> Plan:
        """The plan, when no planner is left or needed.

        Raises:
            PlanError: There is none, or an event is after the end of the clip.
            Exception: That of the planner that failed.
        """
        if self.error is not None:
            raise self.error
        if not self.is_planned and self.request is None:
            raise PlanError("this model has no planner; give a plan or a prompt")
        if self.is_planned and self.given is None and not any(self.plan.values()):
            raise PlanError(f"no planner wrote a section: {'; '.join(self.plan.warnings) or 'none gave a reason'}")
        self.plan.check(self.clip.duration_s)
        return with_default_sections(self.plan, dimensions) if self.is_planned else in_order(self.plan, dimensions)


def _attributed(before: Plan, written: Plan, planner: str) -> Plan:
    """What a planner returned, with the origin of each section and the warnings of the planners before it."""
    origins = {
        name: before.origins[name]
        if text == before.get(name)
        else {"planner": planner, **written.origins.get(name, {})}
        for name, text in written.items()
    }
    return Plan(written, list(dict.fromkeys([*before.warnings, *written.warnings])), origins)


def _missing(plan: Plan, dimensions: Sequence[Dimension]) -> list[Dimension]:
    return [dimension for dimension in dimensions if not plan.get(dimension.name)]


def with_default_sections(plan: Plan, dimensions: Sequence[Dimension]) -> Plan:
    """The plan with default sections for missing dimensions, in the order of the dimensions."""
    texts, origins, warnings = dict(plan), plan.origins, []
    for dimension in _missing(plan, dimensions):
        texts.pop(dimension.name, None)
        if dimension.default_section:
            texts[dimension.name] = dimension.default_section
            origins = {**origins, dimension.name: DEFAULT}
        else:
            warnings.append(f"no planner writes the {dimension.name} section; the plan omits it")
    return in_order(Plan(texts, [*plan.warnings, *warnings], origins), dimensions)


def in_order(plan: Plan, dimensions: Sequence[Dimension]) -> Plan:
    """The plan with its sections in the order of the dimensions."""
    names = [dimension.name for dimension in dimensions if dimension.name in plan]
    return Plan({name: plan[name] for name in dict.fromkeys([*names, *plan])}, plan.warnings, plan.origins)


def negative_plan(prompt: str) -> Plan:
    """The negative plan of a negative prompt: the prompt in each section that it concerns.

    Example:
        >>> print(negative_plan("a noisy recording of a dog"))
        <Semantic> a noisy recording of a dog <Aesthetic> a noisy recording of a dog
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


def unknown_text_warnings(texts: Sequence[str], encoders: Iterable[Encoder]) -> list[str]:
    """A warning about clauses that a model cannot encode; empty if one of its encoders accepts any text.

    Args:
        texts: Texts of the user.
        encoders: The encoders of the model.
    """
    encoders = list(encoders)
    clauses = list(dict.fromkeys(clause for text in texts for clause in clauses_unknown_to_all(text, encoders)))
    if not clauses:
        return []
    known = list(dict.fromkeys(name for encoder in encoders for name in encoder.vocabulary or ()))
    quoted = first_of([repr(truncated(clause, MAX_LETTERS)) for clause in clauses], MAX_QUOTED)
    things = first_of(known, MAX_NAMED)
    if any(Nouns(known).mentions(text) for text in texts):
        return [f"not understood: {quoted}; the model's vocabulary: {things}"]
    return [f"no known sound is mentioned in {quoted}, so the model cannot follow it; its vocabulary: {things}"]


def clauses_unknown_to_all(text: str, encoders: Iterable[Encoder]) -> list[str]:
    """The clauses of a text that no encoder can encode."""
    lists = [clauses for encoder in encoders if (clauses := encoder.unknown(text)) is not None]
    return [clause for clause in lists[0] if all(clause in others for others in lists)] if lists else []
