"""Scorers, a common interface to rewards and metrics, and the evaluation loop.

``prismaudio score``, :func:`prismaudio.score` and the validation of every training task call :func:`evaluate`.
"""

from __future__ import annotations

import hashlib
import math
import warnings
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torchmetrics.utilities import dim_zero_sum

from prismaudio.errors import CheckpointError, NotApplicableError, PrismAudioError, with_class
from prismaudio.metrics.target import Target
from prismaudio.plan import Plan
from prismaudio.rewards import prepare
from prismaudio.weight_files import fingerprint

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from prismaudio.metrics.base import AudioMetric
    from prismaudio.rewards import Cache, Reward
    from prismaudio.types import Clip, Need

NO_NUMBER = "there is nothing to measure"
OF_MANY = "it is computed over all files, not for one"


@dataclass(frozen=True)
class Segment:
    """A piece of an item: the audio to score and the inputs it is compared with.

    Args:
        audio: The audio ``(2, samples)``.
        sample_rate_hz: Its sample rate.
        clip: The frames and, as ``clip.audio``, the reference audio.
        plan: The plan of the segment; None if there is none.
    """

    audio: Tensor
    sample_rate_hz: int
    clip: Clip
    plan: Plan | None


@dataclass(frozen=True)
class Score:
    """The result of a scorer for one item.

    Args:
        value: The score; None if there is none.
        reason: Why there is no score.
        failed: Whether the reason is an unexpected failure, of the machine or of a plugin.
    """

    value: float | None = None
    reason: str = ""
    failed: bool = False


class Scorer(ABC):
    """Computes one score per item from its segments.

    Args:
        name: Name of the scorer.
        kind: ``"rewards"`` or ``"metrics"``.
        dimension: The perceptual dimension that it scores.
        source: Distribution and version that provide it.

    Attributes:
        unavailable: Why no item can be scored, such as missing weights; None if the scorer works.
    """

    range: tuple[float, float] = (-math.inf, math.inf)
    higher_is_better: bool | None = None
    reads: frozenset[Need] = frozenset()

    def __init__(self, name: str, kind: str, dimension: str | None = None, source: str = "") -> None:
        self.name, self.kind, self.dimension, self.source = name, kind, dimension, source
        self.unavailable: Score | None = None

    @property
    def identity(self) -> str:
        """Identifies the scores of this scorer: its name, its release, and a hash of what the scores depend on."""
        digest = hashlib.blake2b(repr(self._depends_on()).encode(), digest_size=12).hexdigest()
        return f"{self.name} {self.source} {self.unavailable is not None} {digest}"

    def _depends_on(self) -> tuple[object, ...]:
        """What the scores depend on besides the release."""
        return ()

    @abstractmethod
    def reset(self) -> None:
        """Begin a new item."""

    @abstractmethod
    def update(self, segment: Segment) -> None:
        """Add a segment of the current item; errors are raised."""

    @abstractmethod
    def result(self) -> Score:
        """The score of the current item."""


def evaluate(
    items: Iterable[Iterable[Segment]], scorers: Sequence[Scorer], *, strict: bool = False
) -> Iterator[dict[str, Score]]:
    """Score items one by one.

    Args:
        items: The segments of each item, in order.
        scorers: The scorers.
        strict: Raise errors instead of returning them as the reason for a missing score, and reject scores that are
            not finite; for training, where missing scores would bias the result.

    Yields:
        The scores of each item by scorer name.

    Raises:
        PrismAudioError: With ``strict``, a reward returns no finite score.

    Example:
        >>> from prismaudio.rewards.aesthetic import AestheticReward
        >>> from prismaudio.types import Clip
        >>> hiss = 0.1 * torch.randn(2, 16_000, generator=torch.Generator().manual_seed(0))
        >>> plan = Plan({"aesthetic": "A clean recording."})
        >>> segment = Segment(hiss, 16_000, Clip("a", 1.0), plan)
        >>> (scores,) = evaluate([[segment]], [RewardScorer(AestheticReward(), "clean")])
        >>> scores["clean"].value < 0.9
        True
    """
    for segments in items:
        lost = {scorer.name: scorer.unavailable for scorer in scorers if scorer.unavailable is not None}
        present = [scorer for scorer in scorers if scorer.unavailable is None]
        for scorer in present:
            scorer.reset()
        last = None
        for last in segments:
            for scorer in present:
                if scorer.name not in lost and (failure := _failure(scorer, last, strict=strict)) is not None:
                    lost[scorer.name] = failure
        scores = {scorer.name: lost.get(scorer.name) or _result(scorer, strict=strict) for scorer in scorers}
        if strict and last is not None:
            for scorer in scorers:
                if scorer.kind == "rewards" and scores[scorer.name].reason == NO_NUMBER:
                    raise PrismAudioError(
                        f"{scorer.name} returns no finite score for clip {last.clip.id}; check the clip, or remove the "
                        "reward"
                    )
        yield scores


def _failure(scorer: Scorer, segment: Segment, *, strict: bool) -> Score | None:
    """Update a scorer; an error does not affect the other scorers."""
    try:
        scorer.update(segment)
    except CheckpointError as error:  # missing weights affect every item
        if strict:
            raise
        scorer.unavailable = Score(reason=str(error))
        return scorer.unavailable
    except Exception as error:
        if strict:
            raise
        return failure(error)
    return None


def _result(scorer: Scorer, *, strict: bool) -> Score:
    try:
        return scorer.result()
    except Exception as error:
        if strict:
            raise
        return failure(error)


class Unavailable(Scorer):
    """Placeholder for a reward or a metric that cannot be loaded.

    Args:
        name: Name of the scorer.
        kind: ``"rewards"`` or ``"metrics"``.
        dimension: The perceptual dimension that it would score.
        source: Distribution and version that provide it.
        reason: Why it cannot be loaded.
    """

    def __init__(self, name: str, kind: str, dimension: str | None, source: str, reason: str) -> None:
        super().__init__(name, kind, dimension, source)
        self.unavailable = Score(reason=reason)

    def reset(self) -> None:
        """Do nothing."""

    def update(self, segment: Segment) -> None:
        """Do nothing."""

    def result(self) -> Score:
        """A score without a value that states the reason."""
        return self.unavailable or Score()


class RewardScorer(Scorer):
    """Scores with a reward; the score of an item is the mean over its segments, weighted by their duration.

    Args:
        reward: The reward.
        name: Name of the scorer.
        dimension: The perceptual dimension, for a reward that declares none.
        source: Distribution and version that provide the reward.
        device: Device to run on; None for the device of the audio.
        folder: Folder in which prepared caches are stored; None to store none.
    """

    def __init__(
        self,
        reward: Reward,
        name: str,
        dimension: str | None = None,
        source: str = "",
        device: torch.device | None = None,
        folder: Path | None = None,
    ) -> None:
        super().__init__(name, "rewards", reward.dimension or dimension, source)
        self.reward, self.device, self.folder = reward, device, folder
        self.range, self.higher_is_better = reward.range, reward.higher_is_better
        self.reads = reward.reads | reward.needs
        self._weighted, self._weight, self._reason = 0.0, 0.0, NO_NUMBER

    def reset(self) -> None:
        """Begin a new item."""
        self._weighted, self._weight, self._reason = 0.0, 0.0, NO_NUMBER

    def _depends_on(self) -> tuple[object, ...]:
        return (self.reward.identity, *map(fingerprint, self.reward.networks))

    def prepare(self, clip: Clip, plan: Plan | None) -> Cache:
        """Compute the cache of the reward for a clip.

        Raises:
            NotApplicableError: The reward cannot score this clip; the message states the reason.
        """
        return prepare(self.reward, clip, plan or Plan({}), self.folder)

    def scores(self, audio: Tensor, sample_rate_hz: int, caches: Sequence[Cache]) -> Tensor:
        """Scores ``(batch,)`` of audio ``(batch, 2, samples)``, float32 on the CPU.

        Raises:
            PrismAudioError: The reward does not return one score per row.
        """
        with torch.no_grad():
            scores = self.reward.score(audio, sample_rate_hz, caches).detach().float().cpu()
        if scores.shape != (len(caches),):
            raise PrismAudioError(
                f"{self.name} returns scores of shape {tuple(scores.shape)}, expected {(len(caches),)}"
            )
        return scores

    def update(self, segment: Segment) -> None:
        """Score a segment; a segment that the reward cannot score is skipped."""
        try:
            cache = self.prepare(segment.clip, segment.plan)
        except NotApplicableError as error:
            self._reason = str(error)
            return
        audio = segment.audio[None] if self.device is None else segment.audio[None].to(self.device)
        self._weighted += segment.clip.duration_s * float(self.scores(audio, segment.sample_rate_hz, [cache])[0])
        self._weight += segment.clip.duration_s

    def result(self) -> Score:
        """The mean over the segments."""
        return finite(self._weighted / self._weight) if self._weight else Score(reason=self._reason)


class MetricScorer(Scorer):
    """Measures with a metric: a value for each item, and one for all items together.

    Args:
        metric: The metric.
        name: Name of the scorer.
        dimension: The perceptual dimension, for a metric that declares none.
        source: Distribution and version that provide the metric.
        device: Device of the metric states; None to leave them where they are.
        per_item: Compute a value per item and merge the states here. If False, items only update the metric and its
            owner computes the value, as Lightning does in a distributed run.

    Attributes:
        all: The merged states of all items; None before the first one.
        last: The states of the last item; None if it was skipped.
    """

    def __init__(
        self,
        metric: AudioMetric,
        name: str,
        dimension: str | None = None,
        source: str = "",
        device: torch.device | None = None,
        *,
        per_item: bool = True,
    ) -> None:
        super().__init__(name, "metrics", metric.dimension or dimension, source)
        self.metric = metric if device is None else metric.to(device)
        self.range, self.higher_is_better = metric.range, metric.higher_is_better
        self.reads, self.per_item = metric.needs, per_item
        self.all: dict[str, Any] | None = None
        self.last: dict[str, Any] | None = None
        self._n_counted, self._reason = 0, NO_NUMBER

    def reset(self) -> None:
        """Begin a new item."""
        if self.per_item:
            self.metric.reset()
        self.last = None
        self._n_counted, self._reason = 0, NO_NUMBER

    def _depends_on(self) -> tuple[object, ...]:
        return tuple(map(fingerprint, self.metric.networks))

    def update(self, segment: Segment) -> None:
        """Measure a segment; a segment that the metric cannot measure is skipped."""
        with torch.no_grad():
            self.metric.update(segment.audio[None], segment.sample_rate_hz, [Target.of(segment.clip, segment.plan)])
        self._n_counted += not self.metric.skipped
        self._reason = self.metric.skipped.get(0, self._reason)

    def result(self) -> Score:
        """The value of the item, if the metric has a value for a single item."""
        if not self._n_counted:
            return Score(reason=self._reason)
        if not self.per_item:
            return Score(reason=OF_MANY)
        value = self.metric.compute() if self.metric.per_sample else None
        self.last = self._state()
        self.add(self.last)
        return Score(reason=OF_MANY) if value is None else finite(float(value))

    def _state(self) -> dict[str, Any]:
        """The current states; lists are copied, because a reset empties them."""
        states = self.metric.metric_state
        return {name: list(value) if isinstance(value, list) else value for name, value in states.items()}

    def add(self, state: Mapping[str, Any]) -> None:
        """Merge the states of an item into those of all items."""
        self._restore(state)
        if self.all is not None:
            self.metric.merge_state(self.all)
        self.all = self._state()

    def forget(self) -> None:
        """Begin anew: the value over all items is that of the items from now on."""
        self.all = None

    def _restore(self, state: Mapping[str, Any]) -> None:
        self.metric.reset()
        for name, value in state.items():
            setattr(self.metric, name, list(value) if isinstance(value, list) else value)

    def total(self) -> Score:
        """The value over all items."""
        if self.all is None:
            return Score(reason="no file was measured")
        try:
            self._restore(self.all)
            with warnings.catch_warnings():  # the states were restored without an update
                warnings.simplefilter("ignore")
                return finite(float(self.metric.compute()))
        except Exception as error:  # noqa: BLE001 - a third-party metric may raise anything
            return failure(error)

    @property
    def sums(self) -> tuple[str, ...]:
        """Names of the states, if the value over items is that of their sums; else empty."""
        reductions = self.metric._reductions  # noqa: SLF001 - what add_state was given; there is no other name for it
        if not all(found is dim_zero_sum for found in reductions.values()):
            return ()
        return tuple(reductions)

    def value_of(self, sums: Tensor) -> float:
        """Value of summed states; NaN if there is none.

        Args:
            sums: The states flattened one after the other, in the order of :attr:`sums`.
        """
        defaults = [(name, torch.as_tensor(self.metric._defaults[name])) for name in self.sums]  # noqa: SLF001
        parts = sums.split([like.numel() for _, like in defaults])
        for (name, like), part in zip(defaults, parts, strict=True):
            setattr(self.metric, name, part.reshape(like.shape).to(like))
        compute = getattr(self.metric.compute, "__wrapped__", self.metric.compute)  # without the cache of torchmetrics
        return float(compute())

    def caution(self) -> str:
        """What the reader of the value over all items must know; empty for nothing."""
        if self.all is None:
            return ""
        self._restore(self.all)
        return self.metric.caution()


def finite(value: float) -> Score:
    """A score with this value if it is finite, else one without a value."""
    return Score(value) if math.isfinite(value) else Score(reason=NO_NUMBER)


def failure(error: Exception) -> Score:
    """A score without a value after an error; a PrismAudioError does not count as a failure."""
    if isinstance(error, PrismAudioError):
        return Score(reason=str(error))
    return Score(reason=f"it failed: {with_class(error, 200)}", failed=True)
