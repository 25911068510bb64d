"""Base classes of planners."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

from torch import Tensor, nn

if TYPE_CHECKING:
    from collections.abc import Sequence

    from prismaudio.components import Dimension
    from prismaudio.plan import Plan
    from prismaudio.types import Clip


class Planner(ABC):
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

    def unload(self) -> None:  # noqa: B027 - optional
        """Free the memory of networks that the planner loads by itself; the next plan loads them again."""


class TrainablePlanner(nn.Module, Planner):
    """A planner with trainable weights, fine-tuned (CoT fine-tuning) on pairs of clips and target plans.

    Plans are text. For a language model the loss is the cross-entropy of the target tokens; for a planner that detects
    events and renders them as text it is the loss of the events parsed from the target text.
    """

    @abstractmethod
    def loss(self, clips: Sequence[Clip], plans: Sequence[Plan]) -> dict[str, Tensor]:
        """Return scalar loss terms by name; their sum is minimised."""
