"""The contract of a planner."""

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
    """Writes the plan of a clip: one section for each dimension that it can answer."""

    @abstractmethod
    def plan(self, clip: Clip, dimensions: Sequence[Dimension], given: str | Plan | None = None) -> Plan:
        """Sections for as many of ``dimensions`` as this planner can answer; the others are left out.

        Args:
            clip: The clip, of any length; it may have no frames where something is given.
            dimensions: What is asked for.
            given: A prompt, which becomes the semantic section and decides what the others are about, or a plan whose
                missing sections are written. The sections of a plan are kept word for word; where they speak of other
                things than the semantic section, a planner may make them agree with it.

        Returns:
            The plan, with :attr:`prismaudio.plan.Plan.warnings` for what its reader should know.
        """


class TrainablePlanner(nn.Module, Planner):
    """A planner with weights, which CoT fine-tuning teaches from clips and the plans that they should have.

    The plans are text. A language model takes the cross-entropy of their tokens; a planner that sees events and
    writes them down takes the loss of the events that the text states.
    """

    @abstractmethod
    def loss(self, clips: Sequence[Clip], plans: Sequence[Plan]) -> dict[str, Tensor]:
        """Scalar terms by name; their sum is minimised."""
