"""The contract of a reward."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from prismaudio.cot.plan import Plan
    from prismaudio.types import Clip


class Reward(ABC):
    """Scores sound in one perceptual dimension; higher is better."""

    def prepare(self, clip: Clip, plan: Plan) -> Any:
        """What ``score`` needs to know of a clip, computed once and shared by all its candidates."""
        return None

    @abstractmethod
    def score(self, audio: Tensor, sample_rate_hz: int, caches: Sequence[Any]) -> Tensor:
        """Scores float32 ``(batch,)``.

        Args:
            audio: Candidates float32 ``(batch, 2, samples)`` in -1 .. 1.
            sample_rate_hz: Their sample rate.
            caches: What ``prepare`` returned, one per row; candidates of one clip share the object.
        """
