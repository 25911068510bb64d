"""Whether the things that the plan names are heard."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from prismaudio.errors import NotApplicableError
from prismaudio.rewards.base import Cache, Reward, plan_text
from prismaudio.rewards.lag import expected_onsets, lags_s
from prismaudio.rewards.rows import TOGETHER, a_few_at_a_time, side_by_side
from prismaudio_studio.classifier import SourceClassifier, studio_classifier
from prismaudio_studio.timbre import timbre_features
from prismaudio_studio.words import NOUNS

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from prismaudio.plan import Plan
    from prismaudio.plan.story import Source
    from prismaudio.types import Clip

LEAD_S, STEP_S = 0.1, 0.1
"""Parts begin this long before an onset; their lengths are multiples of a step, so that many are judged at once."""
MIN_S, MAX_S = 0.2, 1.1
PARTS = 2
"""Parts of each source that are listened to."""
HEARD = 1e-7
"""Mean power, -70 dB, of a part that counts half."""
Part = tuple[float, float, "list[Source]"]
"""Start and length in seconds, and what is heard."""


class SemanticReward(Reward):
    """The probability that a classifier of sounds gives to the things that the plan names.

    A sound of one thing is judged as a whole. Of several things, each is judged where it begins, until something else
    does: in up to two parts, those with the most time to themselves. Where another thing lasts at the same time, either
    may be heard. The embedded classifier knows the twelve classes of the studio; other nouns are passed over.

    Args:
        temperature: What the scores of the classifier are divided by; more than 1 tells good from better.
        classifier: A file that ``prismaudio bench instruments`` wrote; None for the classifier that comes along.
    """

    dimension = "semantic"
    needs = frozenset({"plan"})
    range = (0.0, 1.0)

    def __init__(self, temperature: float = 2.0, classifier: str | None = None) -> None:
        self.temperature = temperature
        self.path = classifier

    @cached_property
    def classifier(self) -> SourceClassifier:
        """What hears classes."""
        return studio_classifier() if self.path is None else SourceClassifier.load(Path(self.path))

    @property
    def identity(self) -> str | None:
        """The classes that the classifier knows, wherever its file is."""
        own = super().identity
        return own and f"{own} {' '.join(self.classifier.classes)}"

    def prepare(self, clip: Clip, plan: Plan) -> Cache:
        """When each part begins, how long it is, which classes may be heard in it, and how much it counts.

        Raises:
            NotApplicableError: The plan names nothing that the classifier knows.
        """
        plan_text(plan, self.dimension)
        classes = self.classifier.classes
        sources = plan.read(NOUNS.only(classes)).sources
        if not any(source.what in classes for source in sources):
            raise NotApplicableError(
                f"the plan names none of the sounds that the classifier knows: {', '.join(classes)}"
            )
        parts: list[tuple[Part, float]] = []
        onsets_s = None
        if len(sources) > 1 and all(source.onsets_s for source in sources):
            onsets_s = torch.tensor([time_s for source in sources for time_s in source.onsets_s])
            for source in sources:
                chosen = _parts(source, sources, clip.duration_s) if source.what in classes else []
                parts += [(part, 1 / len(chosen)) for part in chosen]
        if not parts:
            onsets_s = None
            parts = [((0.0, clip.duration_s, list(sources)), 1.0)]
        named = [[noun in {source.what for source in part[2]} for noun in classes] for part, _ in parts]
        times_s = torch.tensor([part[:2] for part, _ in parts])
        weights = torch.tensor([weight for _, weight in parts])
        found = {"start_s": times_s[:, 0], "length_s": times_s[:, 1], "named": torch.tensor(named), "weights": weights}
        return {**found, **expected_onsets(onsets_s)}

    def score(self, audio: Tensor, sample_rate_hz: int, caches: Sequence[Cache]) -> Tensor:
        """Probabilities ``(batch,)`` in 0 .. 1."""
        onsets = side_by_side(caches, "onsets_s", "counts", device=audio.device)
        late_s = a_few_at_a_time(lambda *few: lags_s(few[0], sample_rate_hz, *few[1:]), audio, *onsets)
        rows = torch.tensor([row for row, cache in enumerate(caches) for _ in cache["weights"]])
        lengths_s, starts_s, named, weights = (
            torch.cat([cache[name] for cache in caches]) for name in ("length_s", "start_s", "named", "weights")
        )
        starts = ((starts_s.to(audio.device) + late_s[rows]) * sample_rate_hz).round().long()
        lengths = (lengths_s * sample_rate_hz).round().long()
        total = torch.zeros(2, len(audio), device=audio.device)
        for length in lengths.unique().tolist():
            for few in (lengths == length).nonzero()[:, 0].split(TOGETHER):
                sounds = _cut(audio, rows[few].to(audio.device), starts[few.to(audio.device)], length)
                chances = self._judge(sounds, sample_rate_hz, named[few].to(audio.device))
                weight = weights[few].to(audio.device)
                total.index_add_(1, rows[few].to(audio.device), torch.stack([weight * chances, weight]))
        return total[0] / total[1]

    def _judge(self, sounds: Tensor, sample_rate_hz: int, named: Tensor) -> Tensor:
        """The probability that each of some sounds is one of those that are named in its row."""
        scores = self.classifier.scores(timbre_features(sounds, sample_rate_hz))
        power = sounds.float().square().mean((1, 2))
        return ((scores / self.temperature).softmax(-1) * named).sum(1) * power / (power + HEARD)


def _cut(audio: Tensor, rows: Tensor, starts: Tensor, length: int) -> Tensor:
    """Parts ``(n, 2, length)`` of some rows, silent where the sound has ended or has not begun."""
    at = starts[:, None, None] + torch.arange(length, device=audio.device)
    inside = (at >= 0) & (at < audio.shape[-1])
    return audio[rows].gather(2, at.clamp(0, audio.shape[-1] - 1).expand(-1, 2, -1)) * inside


def _parts(source: Source, sources: Sequence[Source], duration_s: float) -> list[Part]:
    """Where to listen for a source: its longest parts alone, or else its longest one."""
    parts = list(_candidates(source, sources, duration_s))
    alone = [part for part in parts if len(part[2]) == 1]
    return sorted(alone or parts, key=lambda part: -part[1])[: PARTS if alone else 1]


def _candidates(source: Source, sources: Sequence[Source], duration_s: float) -> Iterator[Part]:
    others = [other for other in sources if other is not source]
    for onset_s in source.onsets_s:
        following = [time_s for other in others for time_s in other.onsets_s if time_s > onset_s]
        stop_s = min([onset_s + MAX_S - LEAD_S, duration_s, *following])
        start_s = max(0.0, onset_s - LEAD_S)
        length_s = STEP_S * int((stop_s - start_s) / STEP_S + 1e-6)
        if length_s >= MIN_S:
            yield start_s, length_s, [source, *(other for other in others if _lasts(other, onset_s, stop_s))]


def _lasts(source: Source, start_s: float, stop_s: float) -> bool:
    return source.end_s is not None and source.onsets_s[0] < stop_s and source.end_s > start_s
