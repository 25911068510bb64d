"""Base class of encoders."""

from __future__ import annotations

from abc import ABC, abstractmethod
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from torch import Tensor

    from prismaudio.plan import Plan
    from prismaudio.types import Clip, FrameSpec


_SUFFIX = "_encoder"


class Encoder(ABC):
    """Base class of encoders: maps a clip and its plan to one stream of :class:`prismaudio.types.Conditions`.

    Attributes:
        dim: Feature dimension.
        rate_hz: Features per second of a stream along time; None for text.
        reads_plan: Whether the features depend on the plan. If True, they are computed for each text of a clip, and
            again for a prompt; if False, once per clip.
        frame_spec: Rate and size of the video frames expected as input; None to use those of the model.
        group: Number of consecutive features that form a group; clips are split only at group boundaries.
        vocabulary: The sound sources that the features can represent; None for an encoder of arbitrary text and for an
            encoder that does not read text.
        embedder: Import path, ``"package.module:ClassName"``, of a class that embeds clips and texts in one space, for
            an encoder of video that belongs to such a pair; empty for none. Its methods are ``embed_clip(clip)`` and
            ``embed_text(text)``, which return ``(dim,)``; it takes arguments of the encoder by name, and ``device``.
        plain: Arguments with which the class computes the same in a plain way, to which ``prismaudio bench features``
            compares it; empty if there is none.
    """

    dim: int
    rate_hz: float | None
    reads_plan: bool = True
    frame_spec: FrameSpec | None = None
    group: int = 1
    vocabulary: Sequence[str] | None = None
    embedder: ClassVar[str] = ""
    plain: ClassVar[Mapping[str, Any]] = MappingProxyType({})

    @abstractmethod
    def encode(self, clip: Clip, plan: Plan) -> Tensor:
        """Encode a clip (video encoders) or its plan (text encoders) to float32 features ``(time, dim)`` on any device.

        The clip may be on another device than the encoder: an encoder with weights moves its inputs to its own device.
        """

    def encode_batch(self, clips: Sequence[Clip], plans: Sequence[Plan]) -> list[Tensor]:
        """Encode several clips; equal to :meth:`encode` of each one within the rounding of the arithmetic.

        Encoders that gain by it override this method and run their network on several clips at once.

        Args:
            clips: Clips of any length.
            plans: The plan of each clip.

        Returns:
            The features ``(time, dim)`` of each clip.
        """
        return [self.encode(clip, plan) for clip, plan in zip(clips, plans, strict=True)]

    def unknown(self, text: str) -> list[str] | None:
        """Return the clauses of a text that the features cannot represent; empty for an encoder of arbitrary text.

        Args:
            text: User input: a prompt or a section of a plan.

        Returns:
            The clauses, or None if the encoder does not read text.
        """
        return None if self.rate_hz is not None else []


def by_stream(components: Mapping[str, Any]) -> dict[str, Any]:
    """Select the encoders from the components of a model folder and key them by stream.

    Example:
        >>> by_stream({"text_encoder": 1, "planner": 2})
        {'text': 1}
    """
    return {name.removesuffix(_SUFFIX): encoder for name, encoder in components.items() if name.endswith(_SUFFIX)}


def as_components(encoders: Mapping[str, Any]) -> dict[str, Any]:
    """Invert :func:`by_stream`."""
    return {f"{stream}{_SUFFIX}": encoder for stream, encoder in encoders.items()}
