"""Metrics of sound that stand on a network: a plugin says what its network makes of a sound, and has them all.

A plugin writes one class with ``features``, and one line for each metric::

    class Yamnet(NetworkMetric):
        def features(self, sound, sample_rate_hz): ...

    class YamnetFrechetDistance(Yamnet, AudioFrechetDistance): ...
"""

from __future__ import annotations

import math
from abc import abstractmethod
from typing import TYPE_CHECKING, ClassVar

from prismaudio.errors import NotApplicableError
from prismaudio.metrics.base import AudioMetric
from prismaudio.metrics.features import FeatureMetric, FrechetDistance, InceptionScore, KlDivergence, MeanCosine

if TYPE_CHECKING:
    from torch import Tensor

    from prismaudio.metrics.target import Target
    from prismaudio.types import Need


class NetworkMetric(AudioMetric, FeatureMetric):  # type: ignore[misc]  # of sound, its update is
    """A metric of sound by way of the features or logits of a network."""

    @abstractmethod
    def features(self, sound: Tensor, sample_rate_hz: int) -> Tensor:
        """Features or logits ``(rows, width)`` of audio ``(2, samples)``."""

    def target(self, truth: Target) -> Tensor | None:
        """What they are compared with ``(rows, width)``: by default the features of the reference, if it is needed."""
        clip = truth.clip
        if "reference" not in self.needs or clip is None or clip.audio is None or clip.sample_rate_hz is None:
            return None
        return self.features(clip.audio.detach().float().cpu(), clip.sample_rate_hz)

    def observe(self, sound: Tensor, sample_rate_hz: int, truth: Target) -> None:
        """Take the features of one audio ``(2, samples)``, and of what it is compared with."""
        found, target = self.features(sound, sample_rate_hz), self.target(truth)
        if any(not bool(rows.isfinite().all()) for rows in (found, target) if rows is not None):
            raise NotApplicableError("its features are not finite")
        self.add(found, found if target is None else target)


class AudioFrechetDistance(NetworkMetric, FrechetDistance):  # type: ignore[misc]
    """Fréchet distance (FD) of all sounds from their references; one pair alone has none."""

    needs: frozenset[Need] = frozenset({"reference"})
    range = (0.0, math.inf)
    higher_is_better = False
    per_sample: ClassVar[bool] = False


class AudioKL(NetworkMetric, KlDivergence):  # type: ignore[misc]
    """Mean divergence (KL) of the classes heard in sounds from those heard in their references."""

    needs: frozenset[Need] = frozenset({"reference"})
    range = (0.0, math.inf)
    higher_is_better = False


class AudioInceptionScore(NetworkMetric, InceptionScore):  # type: ignore[misc]
    """Inception score (IS) of all sounds; one alone has none."""

    range = (1.0, math.inf)
    higher_is_better = True
    per_sample: ClassVar[bool] = False

    def compute(self) -> Tensor:
        """Mean over the parts."""
        return InceptionScore.compute(self)[0]


class AudioCosine(NetworkMetric, MeanCosine):  # type: ignore[misc]
    """Mean cosine of sounds and of what ``target`` says: a text (CLAP score), frames (IB score)."""

    range = (-1.0, 1.0)
    higher_is_better = True
