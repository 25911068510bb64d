"""Base classes of planners."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self

from torch import Tensor, nn

from prismaudio.checkpoints import Configured
from prismaudio.errors import PrismAudioError
from prismaudio.weight_files import fingerprint

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from torch.distributed.device_mesh import DeviceMesh

    from prismaudio.components import Dimension
    from prismaudio.plan import Plan
    from prismaudio.types import Clip


class Described(ABC):  # noqa: B024 - all of it has defaults
    """Base class of what writes plans or parts of them."""

    def description(self) -> dict[str, Any]:
        """What the texts depend on besides the clip, as JSON types: two objects of one description write the same.

        By default the class, its arguments and weights. A subclass leaves out arguments that change no text, such as a
        number of processes: :mod:`prismaudio.cot` continues a folder only with the description that it began with.

        Example:
            >>> from prismaudio.planners.file import FilePlanner
            >>> FilePlanner("a.plan.txt").description()
            {'class': 'FilePlanner', 'path': 'a.plan.txt'}
        """
        arguments: dict[str, Any] = dict(self.config) if isinstance(self, Configured) else {}
        weights = {"weights": fingerprint(self)} if isinstance(self, nn.Module) else {}
        return {"class": type(self).__name__, **arguments, **weights}

    def resampled(self, temperature: float) -> Self:
        """The same with another seed, for a second answer; it samples where this one takes the most likely one.

        Args:
            temperature: Sampling temperature of the second answer where that of this one is 0.

        Raises:
            PrismAudioError: The class does not take a temperature and a seed.
        """
        arguments: dict[str, Any] = dict(self.config) if isinstance(self, Configured) else {}
        if not {"temperature", "seed"} <= arguments.keys():
            raise PrismAudioError(
                f"{type(self).__name__} takes no temperature and seed, so it gives no second answer; ask once, or use "
                "a planner that samples, such as ApiPlanner"
            )
        return type(self)(**(arguments | self.other_sampling(temperature)))

    def other_sampling(self, temperature: float) -> dict[str, Any]:
        """Temperature and seed of :meth:`resampled`."""
        config = self.config if isinstance(self, Configured) else {}
        return {"temperature": config.get("temperature") or temperature, "seed": (config.get("seed") or 0) + 1}


class Planner(Described):
    """Base class of planners: generates the plan of a clip, one section per supported dimension."""

    @abstractmethod
    def plan(self, clip: Clip, dimensions: Sequence[Dimension], given: str | Plan | None = None) -> Plan:
        """Generate sections for the supported ``dimensions``; unsupported ones are omitted.

        Args:
            clip: The clip, of any length; its frames are optional if ``given`` is set.
            dimensions: The requested dimensions.
            given: A prompt, which becomes the semantic section and conditions the other sections, or a partial plan
                whose missing sections are generated. Existing sections are kept verbatim; a planner may edit the ones
                that contradict the semantic section.

        Returns:
            The plan; :attr:`prismaudio.plan.Plan.warnings` holds messages for the user, and
            :attr:`prismaudio.plan.Plan.origins` what the planner records about its sections.
        """

    def plan_batch(
        self,
        clips: Sequence[Clip],
        dimensions: Sequence[Dimension],
        given: Sequence[str | Plan | None] | None = None,
    ) -> list[Plan]:
        """Generate the plans of several clips, as :meth:`plan` does for each; a planner may do it faster together.

        Args:
            clips: The clips.
            dimensions: The requested dimensions.
            given: A prompt or a partial plan for each clip; None for none.
        """
        every = [None] * len(clips) if given is None else given
        return [self.plan(clip, dimensions, one) for clip, one in zip(clips, every, strict=True)]

    def unload(self) -> None:
        """Free the memory of networks that the planner loads by itself; the next plan loads them again."""


@dataclass(frozen=True)
class Annotation:
    """The chain of thought of a clip as one text, before it is split into sections.

    Args:
        text: The text; empty if the model has not written a valid one.
        origin: What the annotator records about it, as data for JSON files, see :attr:`prismaudio.plan.Plan.origins`.
        warnings: Messages for the user, one line each.
        unanswered: The error because of which the model has not answered; empty if it has. Another run may get the
            answer.
    """

    text: str
    origin: Mapping[str, Any] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    unanswered: str = ""


class Annotator(Described):
    """Writes the chain of thought of a clip as one text; a :class:`Decoupler` splits it into sections."""

    @abstractmethod
    def annotate_batch(
        self, clips: Sequence[Clip], dimensions: Sequence[Dimension], captions: Sequence[str] | None = None
    ) -> list[Annotation]:
        """Write the chain of thought of each clip.

        Args:
            clips: The clips.
            dimensions: The dimensions that it covers, in this order.
            captions: What is known about each clip, such as its label; empty for nothing.

        Raises:
            PlanError: A clip cannot be annotated: it has nothing to see, to hear or to read.
            PrismAudioError: No clip can be annotated.
        """


class Decoupler(Described):
    """Splits a chain of thought into the sections of a plan."""

    @abstractmethod
    def decouple_batch(
        self, texts: Sequence[str], clips: Sequence[Clip], dimensions: Sequence[Dimension]
    ) -> list[Plan]:
        """Split the chain of thought of each clip.

        Args:
            texts: The chains of thought.
            clips: Their clips.
            dimensions: The dimensions of the sections.

        Raises:
            PrismAudioError: No text can be split.
        """


class TrainablePlanner(nn.Module, Planner):
    """A planner with trainable weights, fine-tuned (CoT fine-tuning) on pairs of clips and target plans.

    Plans are text. For a language model the loss is the cross-entropy of the target tokens; for a planner that detects
    events and renders them as text it is the loss of the events parsed from the target text.

    Attributes:
        takes_whole_clips: Whether clips may have any length and no audio; otherwise all of a batch are of one length.
    """

    takes_whole_clips: bool = False

    def use_dimensions(self, dimensions: Sequence[Dimension]) -> None:
        """Set the dimensions that are trained, in the order of a plan's sections; by default they are not needed."""

    def prepare_training(self, mesh: DeviceMesh | None = None) -> None:
        """Load the weights and freeze those that are not trained; every process calls this once, before training.

        By default all weights are there and are trained.

        Args:
            mesh: The processes over which the weights are to be sharded; None where each process holds them all.
        """

    def trained(self) -> Planner:
        """The planner with its trained weights, for a model folder; every process calls this.

        Weights that are sharded are gathered, and adapters merged. By default the planner itself.
        """
        return self

    def save_adapters(self, folder: Path, *, first: bool = True) -> None:
        """Write the adapters, if any are trained, to a model folder; by default there are none.

        Args:
            folder: The model folder.
            first: Whether this process is the one that writes; every process calls this.
        """

    @abstractmethod
    def loss(self, clips: Sequence[Clip], plans: Sequence[Plan]) -> dict[str, Tensor]:
        """Return scalar loss terms by name; their sum is minimised."""
