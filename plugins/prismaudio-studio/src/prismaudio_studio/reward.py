"""Classifier probability of the classes that a plan names."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from prismaudio.errors import NotApplicableError
from prismaudio.rewards.base import Cache, Reward, plan_text
from prismaudio.rewards.lag import expected_onsets, lags_s
from prismaudio.rewards.rows import chunk_rows, map_in_chunks, pad_caches
from prismaudio_studio.classifier import SourceClassifier, studio_classifier
from prismaudio_studio.timbre import timbre_features
from prismaudio_studio.words import NOUNS

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from prismaudio.plan import Plan
    from prismaudio.plan.story import Source
    from prismaudio.types import Clip

LEAD_S, STEP_S = 0.1, 0.1
"""Segments begin this long before an onset; their lengths are multiples of a step, so that they can be batched."""
MIN_S, MAX_S = 0.2, 1.1
MAX_SEGMENTS = 2
"""Maximum number of scored segments per source."""
HALF_POWER = 1e-7
"""Mean power, -70 dB, of a segment at which its probability is halved."""
ScoredSegment = tuple[float, float, "list[Source]"]
"""Start and length in seconds, and the sources that are active."""


class SemanticReward(Reward):
    """Probability that a sound classifier assigns to the classes that the plan names.

    Audio of a single source is scored as a whole. With several sources, each is scored in up to two segments, from an
    onset to the next onset of another source; the longest segments without a sustained other source are used. If a
    sustained source overlaps all segments, the longest is used and either class counts. The classifier of this package
    covers the twelve classes of the studio; other nouns are ignored.

    Args:
        temperature: Divides the logits of the classifier; values above 1 avoid saturation.
        classifier: A file written by ``prismaudio bench instruments``; None for the classifier of this package.
    """

    dimension = "semantic"
    needs = frozenset({"plan"})
    range = (0.0, 1.0)

    def __init__(self, temperature: float = 2.0, classifier: str | None = None) -> None:
        self.temperature = temperature
        self.path = classifier

    @cached_property
    def classifier(self) -> SourceClassifier:
        """The classifier of sound classes."""
        return studio_classifier() if self.path is None else SourceClassifier.load(Path(self.path))

    @property
    def identity(self) -> str | None:
        """The identity, with the classes of the classifier instead of the path of its file."""
        own = super().identity
        return own and f"{own} {' '.join(self.classifier.classes)}"

    def prepare(self, clip: Clip, plan: Plan) -> Cache:
        """Start, length, expected classes and weight of each segment.

        Raises:
            NotApplicableError: The plan names none of the classes of the classifier.
        """
        plan_text(plan, self.dimension)
        classes = self.classifier.classes
        sources = plan.read(NOUNS.only(classes)).sources
        if not any(source.what in classes for source in sources):
            raise NotApplicableError(f"the plan names none of the classes of the classifier: {', '.join(classes)}")
        segments: list[tuple[ScoredSegment, float]] = []
        onsets_s = None
        if len(sources) > 1 and all(source.onsets_s for source in sources):
            onsets_s = torch.tensor([time_s for source in sources for time_s in source.onsets_s])
            for source in sources:
                chosen = _segments(source, sources, clip.duration_s) if source.what in classes else []
                segments += [(segment, 1 / len(chosen)) for segment in chosen]
        if not segments:
            onsets_s = None
            segments = [((0.0, clip.duration_s, list(sources)), 1.0)]
        named = [[noun in {source.what for source in segment[2]} for noun in classes] for segment, _ in segments]
        times_s = torch.tensor([segment[:2] for segment, _ in segments])
        weights = torch.tensor([weight for _, weight in segments])
        found = {"start_s": times_s[:, 0], "length_s": times_s[:, 1], "named": torch.tensor(named), "weights": weights}
        return {**found, **expected_onsets(onsets_s)}

    def score(self, audio: Tensor, sample_rate_hz: int, caches: Sequence[Cache]) -> Tensor:
        """Probabilities ``(batch,)`` in 0 .. 1."""
        onsets = pad_caches(caches, "onsets_s", "counts", device=audio.device)
        late_s = map_in_chunks(lambda *chunk: lags_s(chunk[0], sample_rate_hz, *chunk[1:]), audio, *onsets)
        rows = torch.tensor([row for row, cache in enumerate(caches) for _ in cache["weights"]])
        lengths_s, starts_s, named, weights = (
            torch.cat([cache[name] for cache in caches]) for name in ("length_s", "start_s", "named", "weights")
        )
        starts = ((starts_s.to(audio.device) + late_s[rows]) * sample_rate_hz).round().long()
        lengths = (lengths_s * sample_rate_hz).round().long()
        total = torch.zeros(2, len(audio), device=audio.device)
        for length in lengths.unique().tolist():
            for chunk in (lengths == length).nonzero()[:, 0].split(chunk_rows(audio.device)):
                segments = _crop(audio, rows[chunk].to(audio.device), starts[chunk.to(audio.device)], length)
                probabilities = self._probabilities(segments, sample_rate_hz, named[chunk].to(audio.device))
                weight = weights[chunk].to(audio.device)
                total.index_add_(1, rows[chunk].to(audio.device), torch.stack([weight * probabilities, weight]))
        return total[0] / total[1]

    def _probabilities(self, audio: Tensor, sample_rate_hz: int, named: Tensor) -> Tensor:
        """Probabilities ``(n,)`` that audio ``(n, 2, samples)`` is of a class in ``named`` ``(n, classes)``."""
        logits = self.classifier.scores(timbre_features(audio, sample_rate_hz))
        power = audio.float().square().mean((1, 2))
        return ((logits / self.temperature).softmax(-1) * named).sum(1) * power / (power + HALF_POWER)


def _crop(audio: Tensor, rows: Tensor, starts: Tensor, length: int) -> Tensor:
    """Segments ``(n, 2, length)`` of the given rows, zero outside the audio."""
    at = starts[:, None, None] + torch.arange(length, device=audio.device)
    inside = (at >= 0) & (at < audio.shape[-1])
    return audio[rows].gather(2, at.clamp(0, audio.shape[-1] - 1).expand(-1, 2, -1)) * inside


def _segments(source: Source, sources: Sequence[Source], duration_s: float) -> list[ScoredSegment]:
    """The segments that are scored for a source: the longest in which it is alone, or else its longest one."""
    segments = list(_candidates(source, sources, duration_s))
    alone = [segment for segment in segments if len(segment[2]) == 1]
    return sorted(alone or segments, key=lambda segment: -segment[1])[: MAX_SEGMENTS if alone else 1]


def _candidates(source: Source, sources: Sequence[Source], duration_s: float) -> Iterator[ScoredSegment]:
    others = [other for other in sources if other is not source]
    for onset_s in source.onsets_s:
        following = [time_s for other in others for time_s in other.onsets_s if time_s > onset_s]
        stop_s = min([onset_s + MAX_S - LEAD_S, duration_s, *following])
        start_s = max(0.0, onset_s - LEAD_S)
        length_s = STEP_S * int((stop_s - start_s) / STEP_S + 1e-6)
        if length_s >= MIN_S:
            yield start_s, length_s, [source, *(other for other in others if _is_sustained(other, onset_s, stop_s))]


def _is_sustained(source: Source, start_s: float, stop_s: float) -> bool:
    return source.end_s is not None and source.onsets_s[0] < stop_s and source.end_s > start_s
