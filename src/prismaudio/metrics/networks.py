"""Audio metrics based on the features of a network.

A plugin implements ``features`` in one class and adds one line per metric::

    class Yamnet(NetworkMetric):
        def features(self, audio, sample_rate_hz): ...

    class YamnetFrechetDistance(Yamnet, AudioFrechetDistance): ...
"""

from __future__ import annotations

import math
from abc import abstractmethod
from typing import TYPE_CHECKING, ClassVar

from prismaudio.errors import NotApplicableError
from prismaudio.metrics.base import AudioMetric, reference_audio
from prismaudio.metrics.features import (
    FeatureMetric,
    FrechetDistance,
    InceptionScore,
    KernelDistance,
    KlDivergence,
    MeanCosine,
)

if TYPE_CHECKING:
    from torch import Tensor

    from prismaudio.metrics.target import Target
    from prismaudio.types import Need


class NetworkMetric(AudioMetric, FeatureMetric):  # type: ignore[misc]  # update is that of AudioMetric
    """An audio metric on the features or logits of a network."""

    @abstractmethod
    def features(self, audio: Tensor, sample_rate_hz: int) -> Tensor:
        """Features or logits ``(rows, dim)`` of audio ``(2, samples)``."""

    def target(self, target: Target) -> Tensor | None:
        """The features to compare with ``(rows, dim)``: by default those of the reference, if the metric needs it."""
        return self.features(*reference_audio(target)) if "reference" in self.needs else None

    def observe(self, audio: Tensor, sample_rate_hz: int, target: Target) -> None:
        """Add the features of audio ``(2, samples)`` and those of its target."""
        generated, reference = self.features(audio, sample_rate_hz), self.target(target)
        if any(not bool(rows.isfinite().all()) for rows in (generated, reference) if rows is not None):
            raise NotApplicableError("its features are not finite")
        self.add(generated, generated if reference is None else reference)


class AudioFrechetDistance(NetworkMetric, FrechetDistance):  # type: ignore[misc]
    """Fréchet distance (FD) between generated and reference audio; a single pair has none."""

    needs: frozenset[Need] = frozenset({"reference"})
    range = (0.0, math.inf)
    higher_is_better = False
    per_sample: ClassVar[bool] = False

    caution = FrechetDistance.caution


class AudioKernelDistance(NetworkMetric, KernelDistance):  # type: ignore[misc]
    """Kernel audio distance (KAD) between generated and reference audio; a single pair has none.

    Unlike the Fréchet distance, it assumes no distribution and its expectation does not depend on the number of clips;
    it can be negative.
    """

    needs: frozenset[Need] = frozenset({"reference"})
    range = (-math.inf, math.inf)
    higher_is_better = False
    per_sample: ClassVar[bool] = False


class AudioKL(NetworkMetric, KlDivergence):  # type: ignore[misc]
    """Mean KL divergence between the classes of generated and reference audio."""

    needs: frozenset[Need] = frozenset({"reference"})
    range = (0.0, math.inf)
    higher_is_better = False


class AudioInceptionScore(NetworkMetric, InceptionScore):  # type: ignore[misc]
    """Inception score (IS) of generated audio; a single clip has none."""

    range = (1.0, math.inf)
    higher_is_better = True
    per_sample: ClassVar[bool] = False

    caution = InceptionScore.caution

    def compute(self) -> Tensor:
        """Mean over the splits."""
        return InceptionScore.compute(self)[0]


class AudioCosine(NetworkMetric, MeanCosine):  # type: ignore[misc]
    """Mean cosine similarity of the features of audio and of ``target``: a text (CLAP score), frames (IB score)."""

    range = (-1.0, 1.0)
    higher_is_better = True
