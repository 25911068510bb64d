"""The contract of an encoder."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

    from prismaudio.cot.plan import Plan
    from prismaudio.types import Clip


class Encoder(ABC):
    """Turns a clip and its plan into one stream of :class:`prismaudio.types.Conditions`.

    Attributes:
        width: Width of a feature.
        rate_hz: Features per second of a stream along time; None for text.
    """

    width: int
    rate_hz: float | None

    @abstractmethod
    def encode(self, clip: Clip, plan: Plan) -> Tensor:
        """Features float32 ``(time, width)``, on any device. A video encoder reads the clip, a text encoder the plan.

        The clip may be on another device than the encoder: one with weights takes what it reads to its own.
        """
