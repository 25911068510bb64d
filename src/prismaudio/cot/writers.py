"""Who writes the chain of thought of a clip: a planner, an annotator and a decoupler, or whoever made the manifest."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from prismaudio.errors import PlanError
from prismaudio.plan import Plan

if TYPE_CHECKING:
    from prismaudio.components import Dimension
    from prismaudio.data.manifest import ManifestEntry
    from prismaudio.planners.base import Annotator, Decoupler, Planner
    from prismaudio.types import Clip


@dataclass(frozen=True)
class Source:
    """A clip with its line of the manifest."""

    entry: ManifestEntry
    clip: Clip

    @property
    def caption(self) -> str:
        """What the manifest says about the clip; empty if it says nothing."""
        return self.entry.captions[0] if self.entry.captions else ""


@dataclass(frozen=True)
class Written:
    """The chain of thought of a clip as it was written.

    Args:
        plan: Its sections.
        cot: The undivided text; empty if the sections were written at once.
        origin: What is recorded about that text.
        unanswered: Why a model has not answered; empty if all questions are answered, well or not.
    """

    plan: Plan
    cot: str = ""
    origin: Mapping[str, Any] = field(default_factory=dict)
    unanswered: str = ""


class Writer(ABC):
    """Writes chains of thought."""

    @abstractmethod
    def write(self, sources: Sequence[Source], dimensions: Sequence[Dimension]) -> list[Written]:
        """Write the chain of thought of each clip.

        Raises:
            PlanError: A clip has nothing to write from.
            PrismAudioError: Nothing can be written: there are no weights, no key or no endpoint.
        """

    @abstractmethod
    def description(self) -> dict[str, Any]:
        """What the texts depend on besides the clips, as JSON types."""


class ManifestPlans(Writer):
    """The plans that the manifest has; the first one of each clip."""

    def write(self, sources: Sequence[Source], dimensions: Sequence[Dimension]) -> list[Written]:
        """The plans.

        Raises:
            PlanError: A clip has none.
        """
        for source in sources:
            if not source.entry.plans:
                raise PlanError(
                    f"clip {source.entry.id} has no plan in the manifest; add one, or name who writes it with --planner"
                )
        return [Written(source.entry.texts[0]) for source in sources]

    def description(self) -> dict[str, Any]:
        """The manifest, whatever its plans are."""
        return {"plans": "of the manifest"}


@dataclass(frozen=True)
class OneStep(Writer):
    """A planner writes the sections at once.

    Args:
        planner: The planner.
    """

    planner: Planner

    def write(self, sources: Sequence[Source], dimensions: Sequence[Dimension]) -> list[Written]:
        """Write the sections from the frames, or from the caption of a clip without frames."""
        given = [None if source.clip.frames is not None else source.caption or None for source in sources]
        plans = self.planner.plan_batch([source.clip for source in sources], dimensions, given)
        name = type(self.planner).__name__
        return [Written(_by(plan, name), unanswered=_unanswered(plan)) for plan in plans]

    def description(self) -> dict[str, Any]:
        """That of the planner."""
        return {"planner": self.planner.description()}


@dataclass(frozen=True)
class TwoSteps(Writer):
    """An annotator writes one text, which a decoupler splits into sections.

    Args:
        annotator: Writes the text; it is told the caption.
        decoupler: Splits it.
    """

    annotator: Annotator
    decoupler: Decoupler

    def write(self, sources: Sequence[Source], dimensions: Sequence[Dimension]) -> list[Written]:
        """Write the texts, and split those that could be written."""
        clips, captions = [source.clip for source in sources], [source.caption for source in sources]
        annotations = self.annotator.annotate_batch(clips, dimensions, captions)
        told = [index for index, annotation in enumerate(annotations) if annotation.text]
        texts = [annotations[index].text for index in told]
        split = self.decoupler.decouple_batch(texts, [clips[index] for index in told], dimensions) if told else []
        plans = dict(zip(told, split, strict=True))
        name, splitter = type(self.annotator).__name__, type(self.decoupler).__name__
        written = []
        for index, annotation in enumerate(annotations):
            plan = _by(plans.get(index, Plan({})), splitter)
            plan = Plan(plan, [*annotation.warnings, *plan.warnings], plan.origins, plan.unanswered)
            unanswered = annotation.unanswered or _unanswered(plan)
            written.append(Written(plan, annotation.text, {"planner": name, **annotation.origin}, unanswered))
        return written

    def description(self) -> dict[str, Any]:
        """Those of both parts."""
        return {"annotator": self.annotator.description(), "decoupler": self.decoupler.description()}


def _by(plan: Plan, planner: str) -> Plan:
    """The plan with the name of its planner in the origin of each section."""
    origins = {name: {"planner": planner, **plan.origins.get(name, {})} for name in plan}
    return Plan(plan, plan.warnings, origins, plan.unanswered)


def _unanswered(plan: Plan) -> str:
    return "; ".join(dict.fromkeys(plan.unanswered.values()))
