"""Whether sounds begin when they should."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor

from prismaudio.audio.onsets import detect_onsets
from prismaudio.errors import NotApplicableError
from prismaudio.metrics.base import AudioMetric

if TYPE_CHECKING:
    from collections.abc import Sequence

    from prismaudio.metrics.target import Target

TOLERANCE_S = 0.05


def match_onsets(found_s: Sequence[float], true_s: Sequence[float], tolerance_s: float = TOLERANCE_S) -> int:
    """The largest number of pairs (found, true) within a tolerance, each onset in one pair at most.

    Args:
        found_s: Onsets found, in seconds.
        true_s: True onsets, in seconds.
        tolerance_s: Largest difference of a pair in seconds.

    Example:
        >>> match_onsets([0.10, 0.14, 2.0], [0.12, 1.0])
        1
    """
    found, true = sorted(found_s), sorted(true_s)
    pairs = i = j = 0
    while i < len(found) and j < len(true):  # on a line, pairing in order is optimal
        if abs(found[i] - true[j]) <= tolerance_s + 1e-9:
            pairs, i, j = pairs + 1, i + 1, j + 1
        elif found[i] < true[j]:
            i += 1
        else:
            j += 1
    return pairs


class OnsetF1(AudioMetric):
    """F1 score of detected onsets against the true ones, within 50 ms, over all events of all clips.

    Args:
        sources: Which clips count: those with a ``"single"`` source, ``"mixed"`` ones, or ``"all"``.
        tolerance_s: Largest difference of a match in seconds.
    """

    dimension, needs, range = "temporal", frozenset({"plan"}), (0.0, 1.0)
    matched: Tensor
    found: Tensor
    true: Tensor

    def __init__(self, sources: Literal["single", "mixed", "all"] = "all", tolerance_s: float = TOLERANCE_S) -> None:
        super().__init__()
        self.sources, self.tolerance_s = sources, tolerance_s
        for name in ("matched", "found", "true"):
            self.add_state(name, torch.tensor(0.0, dtype=torch.float64), dist_reduce_fx="sum")

    def observe(self, sound: Tensor, sample_rate_hz: int, truth: Target) -> None:
        """Count the onsets of one audio ``(2, samples)``."""
        is_single = len(truth.story.sources) <= 1
        if (self.sources == "single" and not is_single) or (self.sources == "mixed" and is_single):
            raise NotApplicableError(f"it judges plans with {self.sources} sources")
        if truth.plan is not None and not truth.events:
            raise NotApplicableError("the plan states no times")
        found_s = detect_onsets(sound, sample_rate_hz)
        true_s = [event.time_s for event in truth.events]
        self.matched = self.matched + match_onsets(found_s, true_s, self.tolerance_s)
        self.found = self.found + len(found_s)
        self.true = self.true + len(true_s)

    def compute(self) -> Tensor:
        """F1 score in 0 .. 1."""
        return 2 * self.matched / (self.found + self.true)
