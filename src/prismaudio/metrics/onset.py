"""F1 score of onset times."""

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
    """Maximum number of pairs (found, true) within a tolerance, with each onset in at most one pair.

    Args:
        found_s: Detected onsets, in seconds.
        true_s: True onsets, in seconds.
        tolerance_s: Maximum difference of a pair, in seconds.

    Example:
        >>> match_onsets([0.10, 0.14, 2.0], [0.12, 1.0])
        1
    """
    return len(onset_pairs(found_s, true_s, tolerance_s))


def onset_pairs(found_s: Sequence[float], true_s: Sequence[float], tolerance_s: float) -> list[tuple[int, int]]:
    """The largest possible set of pairs (found, true) within a tolerance, as indices, in order of time.

    Args:
        found_s: Detected onsets, in seconds.
        true_s: True onsets, in seconds.
        tolerance_s: Maximum difference of a pair, in seconds.

    Example:
        >>> onset_pairs([2.0, 0.10, 0.14], [0.12, 1.0], 0.05)
        [(1, 0)]
    """
    found, true = (sorted(range(len(times_s)), key=times_s.__getitem__) for times_s in (found_s, true_s))
    pairs: list[tuple[int, int]] = []
    i = j = 0
    while i < len(found) and j < len(true):  # matching in order of time is optimal
        this_s, other_s = found_s[found[i]], true_s[true[j]]
        if abs(this_s - other_s) <= tolerance_s + 1e-9:
            pairs.append((found[i], true[j]))
            i, j = i + 1, j + 1
        elif this_s < other_s:
            i += 1
        else:
            j += 1
    return pairs


class OnsetF1(AudioMetric):
    """F1 score of detected onsets against the onsets of the plan, within 50 ms, over all events of all clips.

    Args:
        sources: Which clips are measured: those with a ``"single"`` source, ``"mixed"`` ones, or ``"all"``.
        tolerance_s: Maximum difference of a match, in seconds.
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

    def observe(self, audio: Tensor, sample_rate_hz: int, target: Target) -> None:
        """Add the onsets of audio ``(2, samples)``."""
        is_single = len(target.story.sources) <= 1
        if (self.sources == "single" and not is_single) or (self.sources == "mixed" and is_single):
            raise NotApplicableError(f"it measures plans with {self.sources} sources")
        if target.plan is not None and not target.events:
            raise NotApplicableError("the plan states no times")
        found_s = detect_onsets(audio, sample_rate_hz)
        true_s = [event.time_s for event in target.events]
        self.matched = self.matched + match_onsets(found_s, true_s, self.tolerance_s)
        self.found = self.found + len(found_s)
        self.true = self.true + len(true_s)

    def compute(self) -> Tensor:
        """F1 score in 0 .. 1."""
        return 2 * self.matched / (self.found + self.true)
