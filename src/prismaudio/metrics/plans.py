"""Metrics of plans: against a true story, or against the sound of a clip."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn.functional import normalize
from torchmetrics import Metric

from prismaudio.audio.covering import cut
from prismaudio.audio.interaural import WINDOW_S, directions
from prismaudio.audio.onsets import detect_onsets
from prismaudio.metrics.onset import onset_pairs
from prismaudio.plan import CORE, Plan
from prismaudio.plan.checking import contradictions, section_problems
from prismaudio.plan.nouns import Nouns
from prismaudio.plan.reading import UNNAMED
from prismaudio.plan.story import RINGING_S, SIDE_DEG

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from prismaudio.audio.interaural import Directions
    from prismaudio.plan.story import Story

TOLERANCES_S = (0.05, 0.1, 0.25)
"""Maximum differences of a matched pair of onsets, in seconds; the last one decides which events are missed."""
MIN_IOU = 0.5
"""Minimum temporal intersection over union of a matched pair of events."""
SIDE_ITD_MS, SIDE_ILD_DB = 0.6, 9.0
"""Interaural differences of a source at 60 degrees, as in :class:`prismaudio.rewards.spatial.SpatialReward`."""
MONO = 1e-4
"""Side energy relative to the total, -40 dB, below which audio counts as mono and states no direction."""
LEAD_S = 0.005
"""A direction is measured in 80 ms of audio that begin this much before the onset."""
_CRITERIA = (*(f"{1000 * tolerance_s:.0f}ms" for tolerance_s in TOLERANCES_S), f"iou{100 * MIN_IOU:.0f}")
_RATIOS = ("precision", "recall", "f1")
METRICS = (
    *("validity_rate", "section_coverage", "contradictions"),
    *(f"event_{ratio}_{criterion}" for criterion in _CRITERIA for ratio in _RATIOS),
    *(f"onset_{ratio}_{criterion}" for criterion in _CRITERIA[:-1] for ratio in _RATIOS),
    *(
        "temporal_iou",
        "class_match",
        "class_match_embedding",
        "direction_error_deg",
        "missed_events",
        "invented_events",
    ),
)
"""Names of the values of :class:`PlanScore`."""


@dataclass(frozen=True)
class SoundEvent:
    """A sound with its start and end.

    Args:
        start_s: Onset in seconds.
        end_s: End in seconds.
        what: The noun of the source; empty if it is not known.
        azimuth_deg: Direction at the onset, -90 (left) .. 90 (right); None if it is not known.
    """

    start_s: float
    end_s: float
    what: str = ""
    azimuth_deg: float | None = None


@dataclass(frozen=True)
class PlanReference:
    """What a plan is compared with.

    Args:
        events: The events of the clip.
        duration_s: Duration of the clip in seconds.
        classes: Nouns of the sources of the clip; None if they are not known.
        has_ends: Whether the ends of the events are known.
    """

    events: tuple[SoundEvent, ...]
    duration_s: float
    classes: frozenset[str] | None = None
    has_ends: bool = False

    @classmethod
    def from_story(cls, story: Story, duration_s: float) -> PlanReference:
        """The reference of a clip whose story is known; every metric exists.

        Example:
            >>> from prismaudio.plan.story import Source, Story
            >>> PlanReference.from_story(Story((Source("dog", (1.0,)),)), 4.0).events
            (SoundEvent(start_s=1.0, end_s=1.25, what='dog', azimuth_deg=None),)
        """
        classes = frozenset(source.what for source in story.sources)
        return cls(tuple(sound_events(story, duration_s)), duration_s, classes, has_ends=True)

    @classmethod
    def from_audio(cls, audio: Tensor, sample_rate_hz: int) -> PlanReference:
        """The reference of a clip of which only the sound is known: its onsets and their directions.

        It has neither classes nor ends, so only the metrics of form, ``onset_*``, ``direction_error_deg``,
        ``missed_events`` and ``invented_events`` exist; mono audio has no directions either. Directions follow from the
        interaural time and level differences of the 80 ms after each onset, for a source at 60 degrees of which they
        are 0.6 ms and 9 dB; in a recording with other microphones they are only ordered correctly.

        Args:
            audio: Audio ``(2, samples)``.
            sample_rate_hz: Its sample rate.
        """
        audio = audio.detach().float().cpu()
        onsets_s = detect_onsets(audio, sample_rate_hz)
        azimuths = measured_azimuths(audio, sample_rate_hz, onsets_s)
        events = (SoundEvent(t, t, "", azimuth) for t, azimuth in zip(onsets_s, azimuths, strict=True))
        return cls(tuple(events), audio.shape[-1] / sample_rate_hz)


def measured_azimuths(audio: Tensor, sample_rate_hz: int, onsets_s: Sequence[float]) -> Sequence[float | None]:
    """Directions in degrees of audio ``(2, samples)`` at its onsets; None for mono audio."""
    middle, side = audio.sum(0), audio[1] - audio[0]
    if not onsets_s or float(side.square().sum()) <= MONO * float(middle.square().sum() + side.square().sum()):
        return [None] * len(onsets_s)
    azimuths = []
    for onset_s in onsets_s:
        part = cut(audio, sample_rate_hz, onset_s - LEAD_S, WINDOW_S)
        azimuths.append(float(frame_azimuths_deg(directions(part[None], sample_rate_hz).first(1))))
    return azimuths


def frame_azimuths_deg(measured: Directions) -> Tensor:
    """Directions in degrees ``(batch, frames)`` of interaural differences, -90 (left) .. 90 (right).

    A source at 60 degrees has a time difference of 0.6 ms and a level difference of 9 dB; other angles follow the sine
    of the mean of both.
    """
    share = (measured.itd_ms / SIDE_ITD_MS + measured.ild_db / SIDE_ILD_DB) / 2
    return (math.sin(math.radians(SIDE_DEG)) * share).clamp(-1, 1).asin().rad2deg()


def sound_events(story: Story, duration_s: float) -> list[SoundEvent]:
    """The sounds of a story, ascending in time.

    A sound without a stated end lasts 0.25 s, the time for which a struck source is assumed to be audible everywhere in
    this package and the shortest event in the annotations of DESED, but at most until the next one of its source or
    the end of the clip.

    Args:
        story: The story.
        duration_s: Duration of the clip in seconds.
    """
    found = []
    for source in story.sources:
        following_s = (*source.onsets_s[1:], duration_s)
        for start_s, next_s in zip(source.onsets_s, following_s, strict=False):
            end_s = min(start_s + RINGING_S, next_s)
            if start_s == source.onsets_s[-1] and source.end_s is not None:
                end_s = min(source.end_s, duration_s)
            found.append(SoundEvent(start_s, max(start_s, end_s), source.what, source.azimuth_at(start_s)))
    return sorted(found, key=lambda event: event.start_s)


def match_events(
    found: Sequence[SoundEvent], true: Sequence[SoundEvent], tolerance_s: float, *, by_class: bool = True
) -> list[tuple[int, int]]:
    """The largest possible set of pairs (found, true) of events of one class whose onsets agree, as indices.

    Args:
        found: The events of a plan.
        true: The events of the reference.
        tolerance_s: Maximum difference of the onsets of a pair, in seconds.
        by_class: Whether the events of a pair must have the same noun.
    """
    pairs: list[tuple[int, int]] = []
    for what in dict.fromkeys(event.what if by_class else "" for event in true):
        mine, theirs = (
            [i for i, event in enumerate(events) if not by_class or event.what == what] for events in (found, true)
        )
        found_s, true_s = [found[i].start_s for i in mine], [true[j].start_s for j in theirs]
        pairs += [(mine[i], theirs[j]) for i, j in onset_pairs(found_s, true_s, tolerance_s)]
    return pairs


def match_intervals(found: Sequence[SoundEvent], true: Sequence[SoundEvent], min_iou: float = MIN_IOU) -> int:
    """Number of pairs (found, true) of events of one class that overlap, the largest overlaps first.

    Args:
        found: The events of a plan.
        true: The events of the reference.
        min_iou: Minimum temporal intersection over union of a pair.
    """
    overlaps = sorted(
        (
            (temporal_iou([this], [other]), -i, -j)
            for i, this in enumerate(found)
            for j, other in enumerate(true)
            if this.what == other.what
        ),
        reverse=True,
    )
    matched_found: set[int] = set()
    matched_true: set[int] = set()
    for iou, i, j in overlaps:
        if iou >= min_iou - 1e-9 and i not in matched_found and j not in matched_true:
            matched_found.add(i)
            matched_true.add(j)
    return len(matched_true)


def temporal_iou(found: Iterable[SoundEvent], true: Iterable[SoundEvent]) -> float:
    """Intersection over union of the times during which something sounds; NaN if nothing does.

    Example:
        >>> round(temporal_iou([SoundEvent(0.0, 2.0)], [SoundEvent(1.0, 2.5), SoundEvent(2.0, 3.0)]), 3)
        0.333
    """
    edges: list[tuple[float, int, int]] = []
    for side, events in enumerate((found, true)):
        edges += [(event.start_s, 1, side) for event in events] + [(event.end_s, -1, side) for event in events]
    active, intersection_s, union_s, before_s = [0, 0], 0.0, 0.0, 0.0
    for time_s, step, side in sorted(edges):
        if any(active):
            union_s += time_s - before_s
        if all(active):
            intersection_s += time_s - before_s
        active[side] += step
        before_s = time_s
    return intersection_s / union_s if union_s else math.nan


class PlanScore(Metric):
    """Form and content of plans, as a dictionary of values over all clips; see :data:`METRICS`.

    Form: ``validity_rate`` is the share of the clips whose plan has sections, all without problems
    (:func:`prismaudio.plan.checking.section_problems`); ``section_coverage`` the share of the requested sections that
    are there; ``contradictions`` the number of contradictions between sections, per plan with sections.

    Events: precision, recall and F1 over all events of all clips, of events that agree in class and onset within 50,
    100 or 250 ms (``event_f1_50ms``), or in class and temporal intersection over union of at least 0.5
    (``event_f1_iou50``), as in the event-based evaluation of sound event detection; ``onset_*`` ignore the classes.
    ``missed_events`` and ``invented_events`` are numbers per clip of true events that the plan does not state, and the
    other way round, within 250 ms. ``temporal_iou`` is the mean over clips of the intersection over union of the time
    in which anything sounds. For the ends of impulsive events see :func:`sound_events`.

    Classes: ``class_match`` is the F1 of the nouns of the sources, over all clips; ``class_match_embedding`` the same
    with the cosine to the most similar noun of the other side, at least 0, instead of equality.

    Directions: ``direction_error_deg`` is the mean absolute difference in degrees over the events that agree within
    250 ms, and in class where classes are known, and of which both state a direction.

    A value is NaN where there is nothing to measure. All states are sums, so processes can be merged.

    Args:
        nouns: Known nouns, found wherever a plan mentions them; by default the classes of each reference. Plans of any
            vocabulary are read.
        embed: Computes features ``(n, dim)`` of n nouns; without it there is no ``class_match_embedding``.
        dimensions: The dimensions whose sections are requested.

    Example:
        >>> from prismaudio.plan.story import Source, Story
        >>> score = PlanScore()
        >>> truth = PlanReference.from_story(Story((Source("dog", (1.0, 2.0)),)), 4.0)
        >>> score.update([Plan({"temporal": "The dog sounds at 1.04 s."})], [truth])
        >>> {name: round(value, 2) for name, value in score.as_dict().items() if name.startswith("event_f1")}
        {'event_f1_50ms': 0.67, 'event_f1_100ms': 0.67, 'event_f1_250ms': 0.67, 'event_f1_iou50': 0.67}
    """

    full_state_update = False
    form: Tensor
    events: Tensor
    onsets: Tensor
    unmatched: Tensor
    overlap: Tensor
    classes: Tensor
    similarity: Tensor
    direction: Tensor

    def __init__(
        self,
        nouns: Nouns | None = None,
        embed: Callable[[list[str]], Tensor] | None = None,
        dimensions: Sequence[str] = CORE,
    ) -> None:
        super().__init__()
        self.nouns, self.embed, self.dimensions = nouns, embed, tuple(dimensions)
        self._features: dict[str, Tensor] = {}
        sizes: dict[str, tuple[int, ...]] = {
            "form": (6,),  # clips, valid plans, plans, contradictions, sections, requested sections
            "events": (len(_CRITERIA), 3),  # matched, stated, true
            "onsets": (len(TOLERANCES_S), 3),
            "unmatched": (3,),  # clips, missed, invented
            "overlap": (2,),  # clips, sum
            "classes": (3,),  # matched, stated, true
            "similarity": (2,),  # sum over stated and true nouns, their number
            "direction": (2,),  # events, sum
        }
        for name, size in sizes.items():
            self.add_state(name, torch.zeros(size), dist_reduce_fx="sum")

    def update(self, plans: Sequence[Plan | None], references: Sequence[PlanReference]) -> None:
        """Compare plans with their references.

        Args:
            plans: The plan of each clip; None, like an empty one, if the planner failed.
            references: The reference of each clip.
        """
        for plan, reference in zip(plans, references, strict=True):
            self._add(Plan({}) if plan is None else plan, reference)

    def _add(self, plan: Plan, reference: PlanReference) -> None:
        self._add_form(plan, reference)
        story = plan.read(Nouns(reference.classes or ()) if self.nouns is None else self.nouns)
        found, true = sound_events(story, reference.duration_s), reference.events
        matched = [match_events(found, true, tolerance_s, by_class=False) for tolerance_s in TOLERANCES_S]
        self.onsets = self.onsets + self._counts(map(len, matched), found, true)
        if reference.classes is not None:
            matched = [match_events(found, true, tolerance_s) for tolerance_s in TOLERANCES_S]
            numbers = [*map(len, matched), match_intervals(found, true)]
            self.events = self.events + self._counts(numbers, found, true)
            self._add_classes({source.what for source in story.sources} - {UNNAMED}, reference.classes)
        if reference.has_ends and not math.isnan(iou := temporal_iou(found, true)):
            self.overlap = self.overlap + self._sums(1, iou)
        pairs = matched[-1]
        self.unmatched = self.unmatched + self._sums(1, len(true) - len(pairs), len(found) - len(pairs))
        directions_deg = [(found[i].azimuth_deg, true[j].azimuth_deg) for i, j in pairs]
        errors_deg = [abs(a - b) for a, b in directions_deg if a is not None and b is not None]
        self.direction = self.direction + self._sums(len(errors_deg), sum(errors_deg))

    def _add_form(self, plan: Plan, reference: PlanReference) -> None:
        sections = {name: text for name, text in plan.items() if text}
        problems = [section_problems(name, text, reference.duration_s) for name, text in sections.items()]
        is_valid = bool(sections) and not any(problems)
        n_present = sum(name in sections for name in self.dimensions)
        self.form = self.form + self._sums(
            1, is_valid, bool(sections), len(contradictions(plan)), n_present, len(self.dimensions)
        )

    def _add_classes(self, stated: set[str], true: frozenset[str]) -> None:
        self.classes = self.classes + self._sums(len(stated & true), len(stated), len(true))
        if self.embed is None:
            return
        self.similarity = self.similarity + self._sums(0, len(stated) + len(true))
        if stated and true:
            cosines = (self._embedded(sorted(stated)) @ self._embedded(sorted(true)).T).clamp(min=0)
            self.similarity = self.similarity + self._sums(float(cosines.amax(1).sum() + cosines.amax(0).sum()), 0)

    def _embedded(self, nouns: list[str]) -> Tensor:
        """Normalised features ``(n, dim)`` of nouns, computed once for each noun."""
        new = [noun for noun in nouns if noun not in self._features]
        if new and self.embed is not None:
            features = normalize(self.embed(new).detach().double().cpu(), dim=-1)
            self._features.update(zip(new, features, strict=True))
        return torch.stack([self._features[noun] for noun in nouns])

    def _sums(self, *values: float) -> Tensor:
        return torch.tensor(values, dtype=torch.float32, device=self.device)

    def _counts(self, matched: Iterable[int], found: Sequence[SoundEvent], true: Sequence[SoundEvent]) -> Tensor:
        rows = [[n_matched, len(found), len(true)] for n_matched in matched]
        return torch.tensor(rows, dtype=torch.float32, device=self.device)

    def compute(self) -> dict[str, Tensor]:
        """The value of each of :data:`METRICS`, NaN where there is nothing to measure."""
        n_clips, n_valid, n_plans, n_contradictions, n_sections, n_requested = self.form
        n_compared, n_missed, n_invented = self.unmatched
        n_overlaps, overlap = self.overlap
        n_directions, error_deg = self.direction
        similarity, n_nouns = self.similarity
        counts = {f"event_{{}}_{criterion}": row for criterion, row in zip(_CRITERIA, self.events, strict=True)}
        counts |= {f"onset_{{}}_{criterion}": row for criterion, row in zip(_CRITERIA, self.onsets, strict=False)}
        values = {
            "validity_rate": n_valid / n_clips,
            "section_coverage": n_sections / n_requested,
            "contradictions": n_contradictions / n_plans,
            "temporal_iou": overlap / n_overlaps,
            "class_match": _ratios(self.classes)["f1"],
            "class_match_embedding": similarity / n_nouns,
            "direction_error_deg": error_deg / n_directions,
            "missed_events": n_missed / n_compared,
            "invented_events": n_invented / n_compared,
        }
        for name, row in counts.items():
            values |= {name.format(ratio): value for ratio, value in _ratios(row).items()}
        return {name: values[name] for name in METRICS}

    def as_dict(self) -> dict[str, float]:
        """The values of :meth:`compute` as numbers."""
        return {name: float(value) for name, value in self.compute().items()}


def _ratios(counts: Tensor) -> dict[str, Tensor]:
    """Precision, recall and F1 of the numbers of matched, stated and true items."""
    matched, stated, true = counts
    return dict(zip(_RATIOS, (matched / stated, matched / true, 2 * matched / (stated + true)), strict=True))
