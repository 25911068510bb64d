"""Onset times against those of the plan, or of the reference."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor

from prismaudio.audio.onsets import detect_onsets
from prismaudio.errors import NotApplicableError
from prismaudio.metrics.base import AudioMetric, reference_audio

if TYPE_CHECKING:
    from collections.abc import Sequence

    from prismaudio.metrics.target import Target

TOLERANCE_S = 0.05
REFERENCE_TOLERANCE_S = 0.1
"""Tolerance where both sides are detected; detection of onsets in real recordings is coarser."""


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


class OnsetMetric(AudioMetric):
    """Counts detected onsets that agree with those of the plan, over all events of all clips.

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

    def true_s(self, target: Target) -> Sequence[float]:
        """The true onsets of a clip, in seconds.

        Raises:
            NotApplicableError: There are none.
        """
        if target.plan is not None and not target.events:
            raise NotApplicableError("the plan states no times")
        return [event.time_s for event in target.events]

    def observe(self, audio: Tensor, sample_rate_hz: int, target: Target) -> None:
        """Add the onsets of audio ``(2, samples)``."""
        is_single = len(target.story.sources) <= 1
        if (self.sources == "single" and not is_single) or (self.sources == "mixed" and is_single):
            raise NotApplicableError(f"it measures plans with {self.sources} sources")
        true_s = self.true_s(target)
        found_s = detect_onsets(audio, sample_rate_hz)
        self.matched = self.matched + match_onsets(found_s, true_s, self.tolerance_s)
        self.found = self.found + len(found_s)
        self.true = self.true + len(true_s)

    @abstractmethod
    def compute(self) -> Tensor:
        """A ratio in 0 .. 1 of the numbers of onsets; NaN if it has none."""


class OnsetF1(OnsetMetric):
    """F1 score of detected onsets against the onsets of the plan, within 50 ms, over all events of all clips.

    Args:
        sources: Which clips are measured: those with a ``"single"`` source, ``"mixed"`` ones, or ``"all"``.
        tolerance_s: Maximum difference of a match, in seconds.
    """

    def compute(self) -> Tensor:
        """F1 score in 0 .. 1."""
        return 2 * self.matched / (self.found + self.true)


class OnsetPrecision(OnsetMetric):
    """Share of the detected onsets that the plan states, within 50 ms, over all events of all clips.

    Args:
        sources: Which clips are measured: those with a ``"single"`` source, ``"mixed"`` ones, or ``"all"``.
        tolerance_s: Maximum difference of a match, in seconds.
    """

    def compute(self) -> Tensor:
        """Precision in 0 .. 1; NaN if no onset was detected."""
        return self.matched / self.found


class OnsetRecall(OnsetMetric):
    """Share of the onsets of the plan that are detected, within 50 ms, over all events of all clips.

    Args:
        sources: Which clips are measured: those with a ``"single"`` source, ``"mixed"`` ones, or ``"all"``.
        tolerance_s: Maximum difference of a match, in seconds.
    """

    def compute(self) -> Tensor:
        """Recall in 0 .. 1."""
        return self.matched / self.true


class ReferenceOnsetF1(OnsetF1):
    """F1 score of detected onsets against those detected in the reference, within 100 ms, over all clips.

    It is for clips of which only the sound is known, such as real footage. A reference without onsets, such as wind,
    tells nothing about times. Onsets at chance match, too: compare with the value for the references of other clips.

    Args:
        tolerance_s: Maximum difference of a match, in seconds.
    """

    needs = frozenset({"reference"})

    def __init__(self, tolerance_s: float = REFERENCE_TOLERANCE_S) -> None:
        super().__init__("all", tolerance_s)

    def true_s(self, target: Target) -> Sequence[float]:
        """The onsets of the reference; see :meth:`OnsetMetric.true_s`."""
        found_s = detect_onsets(*reference_audio(target))
        if not found_s:
            raise NotApplicableError("the reference has no onsets")
        return found_s
