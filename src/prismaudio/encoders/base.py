"""The contract of an encoder."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    from torch import Tensor

    from prismaudio.plan import Plan
    from prismaudio.types import Clip, FrameSpec


_SUFFIX = "_encoder"


class Encoder(ABC):
    """Turns a clip and its plan into one stream of :class:`prismaudio.types.Conditions`.

    Attributes:
        dim: Dim of a feature.
        rate_hz: Features per second of a stream along time; None for text.
        reads_plan: Whether the features depend on the plan: then they are computed for each text of a clip, and again
            for a prompt. Those of an encoder that only watches are computed once for a clip.
        frame_spec: Rate and size of the frames that it wants to see; None for those of the model.
        group: How many features in a row belong together; a piece of a clip begins and ends between groups.
        vocabulary: The things that it knows by name, where these are all that its features can say; None for an encoder
            of any text, and for one that reads no text.
    """

    dim: int
    rate_hz: float | None
    reads_plan: bool = True
    frame_spec: FrameSpec | None = None
    group: int = 1
    vocabulary: Sequence[str] | None = None

    @abstractmethod
    def encode(self, clip: Clip, plan: Plan) -> Tensor:
        """Features float32 ``(time, dim)``, on any device. A video encoder reads the clip, a text encoder the plan.

        The clip may be on another device than the encoder: one with weights takes what it reads to its own.
        """

    def unknown(self, text: str) -> list[str] | None:
        """The clauses of a text that its features cannot express; none for an encoder of any text.

        Args:
            text: What a user wrote: a prompt, or a section of a plan.

        Returns:
            The clauses, or None for an encoder that reads no text.
        """
        return None if self.rate_hz is not None else []


def by_stream(components: Mapping[str, Any]) -> dict[str, Any]:
    """The encoders among the components of a model folder, by stream.

    Example:
        >>> by_stream({"text_encoder": 1, "planner": 2})
        {'text': 1}
    """
    return {name.removesuffix(_SUFFIX): part for name, part in components.items() if name.endswith(_SUFFIX)}


def as_components(encoders: Mapping[str, Any]) -> dict[str, Any]:
    """The inverse of :func:`by_stream`."""
    return {f"{stream}{_SUFFIX}": encoder for stream, encoder in encoders.items()}
