"""Whose plan it is: the planner's, the user's, or the user's words completed by the planner."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prismaudio.errors import PlanError, shortened
from prismaudio.plan import CORE, Plan
from prismaudio.plan.nouns import Nouns

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from prismaudio.components import Dimension
    from prismaudio.encoders.base import Encoder
    from prismaudio.planners.base import Planner
    from prismaudio.types import Clip

MAX_QUOTED, MAX_LETTERS, MAX_NAMED = 3, 60, 20
"""How much a warning says of what is not understood: clauses, letters of each, and things that are known."""


def write_plan(
    planner: Planner | None,
    clip: Clip,
    dimensions: Sequence[Dimension],
    given: Plan | None = None,
    prompt: str = "",
) -> Plan:
    """The plan of a clip, with everything in it that somebody gave.

    Args:
        planner: Writes what is missing; without one, what is given is the plan.
        clip: The clip.
        dimensions: The dimensions of a plan, in their order; a section that is still missing is its default one.
        given: Sections that are kept.
        prompt: What is to be heard; takes the place of the semantic section.

    Raises:
        PlanError: Nothing says what is to be heard, or something happens after the end of the clip.
    """
    wanted: str | Plan | None = given
    if prompt:
        wanted = prompt if given is None else given.replace({"semantic": prompt})
    if wanted is None and clip.frames is None:
        raise PlanError("nothing says what is to be heard: give a video, a plan or a prompt")
    if planner is not None:
        plan = planner.plan(clip, dimensions, wanted)
    elif wanted is None:
        raise PlanError("this model has no planner; say what is to be heard by a plan or a prompt")
    else:
        plan = Plan({"semantic": wanted}) if isinstance(wanted, str) else wanted
    plan.check(clip.duration_s)
    return completed(plan, dimensions)


def completed(plan: Plan, dimensions: Sequence[Dimension]) -> Plan:
    """The plan with the default sections of dimensions that it lacks, in the order of the dimensions."""
    texts, warnings = dict(plan), []
    for dimension in dimensions:
        if not texts.get(dimension.name):
            texts.pop(dimension.name, None)
            if dimension.default_section:
                texts[dimension.name] = dimension.default_section
            else:
                warnings.append(f"nobody answers the {dimension.name} section; it is left out of the plan")
    names = [dimension.name for dimension in dimensions if dimension.name in texts]
    return Plan({name: texts[name] for name in dict.fromkeys([*names, *texts])}, [*plan.warnings, *warnings])


def unwanted(prompt: str) -> Plan:
    """The negative plan of a negative prompt: its words in the sections that they are about.

    Example:
        >>> print(unwanted("a noisy recording of a dog"))
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


def not_understood(texts: Sequence[str], encoders: Iterable[Encoder]) -> list[str]:
    """A warning about what a model cannot follow in texts; none when one of its encoders understands any text.

    Args:
        texts: What the user wrote.
        encoders: The encoders of the model.
    """
    encoders = list(encoders)
    clauses = list(dict.fromkeys(clause for text in texts for clause in unknown_to_all(text, encoders)))
    if not clauses:
        return []
    known = list(dict.fromkeys(name for encoder in encoders for name in encoder.vocabulary or ()))
    quoted = ", ".join(repr(shortened(clause, MAX_LETTERS)) for clause in clauses[:MAX_QUOTED])
    quoted += f" and {len(clauses) - MAX_QUOTED} more" if len(clauses) > MAX_QUOTED else ""
    things = ", ".join(known[:MAX_NAMED])
    things += f" and {len(known) - MAX_NAMED} more" if len(known) > MAX_NAMED else ""
    if any(Nouns(known).mentions(text) for text in texts):
        return [f"not understood: {quoted}; this model knows {things}"]
    return [f"nothing that sounds is understood in {quoted}, so the model cannot follow it; it knows {things}"]


def unknown_to_all(text: str, encoders: Iterable[Encoder]) -> list[str]:
    """The clauses of a text that none of some encoders can express."""
    lists = [clauses for encoder in encoders if (clauses := encoder.unknown(text)) is not None]
    return [clause for clause in lists[0] if all(clause in others for others in lists)] if lists else []
