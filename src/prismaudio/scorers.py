"""Scorers, which is what rewards and metrics both are to who wants numbers, and the loop that evaluates with them.

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
OF_MANY = "it is a number of many files"


@dataclass(frozen=True)
class Segment:
    """A piece of an item: what is scored, and what it is compared with.

    Args:
        audio: The audio ``(2, samples)``.
        sample_rate_hz: Its sample rate.
        clip: The frames and, as its audio, the reference.
        plan: The plan of the piece; None without one.
    """

    audio: Tensor
    sample_rate_hz: int
    clip: Clip
    plan: Plan | None


@dataclass(frozen=True)
class Score:
    """What a scorer gives to an item.

    Args:
        value: The score; None when there is none.
        reason: Why there is none.
        failed: Whether that is a failure, of the machine or of a plugin.
    """

    value: float | None = None
    reason: str = ""
    failed: bool = False


class Scorer(ABC):
    """Gives an item, segment by segment, one score.

    Args:
        name: Its name.
        kind: ``"rewards"`` or ``"metrics"``.
        dimension: The dimension that it scores.
        source: Distribution and version that it comes from.

    Attributes:
        unavailable: Why it can score no item at all, such as weights that are not on this machine.
    """

    range: tuple[float, float] = (-math.inf, math.inf)
    higher_is_better: bool | None = None
    reads: frozenset[Need] = frozenset()

    def __init__(self, name: str, kind: str, dimension: str | None = None, source: str = "") -> None:
        self.name, self.kind, self.dimension, self.source = name, kind, dimension, source
        self.unavailable: Score | None = None

    @property
    def identity(self) -> str:
        """What tells its scores from those of other scorers: name, release, and a hash of what they depend on."""
        digest = hashlib.blake2b(repr(self._depends_on()).encode(), digest_size=12).hexdigest()
        return f"{self.name} {self.source} {self.unavailable is not None} {digest}"

    def _depends_on(self) -> tuple[object, ...]:
        """What scores depend on beside the release."""
        return ()

    @abstractmethod
    def reset(self) -> None:
        """Begin a new item."""

    @abstractmethod
    def update(self, segment: Segment) -> None:
        """Take a segment of it into account; whatever goes wrong is raised."""

    @abstractmethod
    def result(self) -> Score:
        """The score of the item."""


def evaluate(
    items: Iterable[Iterable[Segment]], scorers: Sequence[Scorer], *, strict: bool = False
) -> Iterator[dict[str, Score]]:
    """Score items one after the other.

    Args:
        items: The segments of each item, in order.
        scorers: What they are scored with.
        strict: Raise what goes wrong, rather than note it as the reason why an item has no score, and refuse scores
            that are not finite: for training, which such scores would mislead.

    Yields:
        The scores of each item by the names of the scorers.

    Raises:
        PrismAudioError: With ``strict``, a reward gives no finite number.

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
                        f"{scorer.name} gives no finite score to clip {last.clip.id}; look at that clip, or leave the "
                        "reward out"
                    )
        yield scores


def _failure(scorer: Scorer, segment: Segment, *, strict: bool) -> Score | None:
    """Update a scorer; what goes wrong is no other scorer's concern."""
    try:
        scorer.update(segment)
    except CheckpointError as error:  # weights that are missing are missed by every item
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
    """The place of a reward or a metric that cannot be had.

    Args:
        reason: Why.
    """

    def __init__(self, name: str, kind: str, dimension: str | None, source: str, reason: str) -> None:
        super().__init__(name, kind, dimension, source)
        self.unavailable = Score(reason=reason)

    def reset(self) -> None:
        """Nothing."""

    def update(self, segment: Segment) -> None:
        """Nothing."""

    def result(self) -> Score:
        """Why there is none."""
        return self.unavailable or Score()


class RewardScorer(Scorer):
    """A reward; the score of an item is the mean over its segments, by their length.

    Args:
        reward: The reward.
        name: Its name.
        dimension: The dimension that it scores; None for that of the reward.
        source: Distribution and version that it comes from.
        device: Where it runs; None for where the audio is.
        folder: Where what it prepares is kept; None to keep nothing.
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
        """What the reward knows of a clip.

        Raises:
            NotApplicableError: It cannot score this clip; the text says why.
        """
        return prepare(self.reward, clip, plan or Plan({}), self.folder)

    def scores(self, audio: Tensor, sample_rate_hz: int, caches: Sequence[Cache]) -> Tensor:
        """Scores ``(batch,)`` of audio ``(batch, 2, samples)``, float32 on the CPU.

        Raises:
            PrismAudioError: There are not as many as rows.
        """
        with torch.no_grad():
            made = self.reward.score(audio, sample_rate_hz, caches).detach().float().cpu()
        if made.shape != (len(caches),):
            raise PrismAudioError(f"{self.name} gives scores of shape {tuple(made.shape)}, expected {(len(caches),)}")
        return made

    def update(self, segment: Segment) -> None:
        """Score a segment; one that the reward cannot score does not count."""
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
    """A metric: what one item alone comes to, and all items together.

    Args:
        metric: The metric.
        name: Its name.
        dimension: The dimension that it measures; None for that of the metric.
        source: Distribution and version that it comes from.
        device: Where its states are; None where they are.
        apart: Compute a value for each item, and add up their states here. Without it items only update the metric,
            which whoever made it computes, as Lightning does in a distributed run.

    Attributes:
        last: The states of the last item; None when it does not count.
    """

    def __init__(
        self,
        metric: AudioMetric,
        name: str,
        dimension: str | None = None,
        source: str = "",
        device: torch.device | None = None,
        *,
        apart: bool = True,
    ) -> None:
        super().__init__(name, "metrics", metric.dimension or dimension, source)
        self.metric = metric if device is None else metric.to(device)
        self.range, self.higher_is_better = metric.range, metric.higher_is_better
        self.reads, self.apart = metric.needs, apart
        self.all: dict[str, Any] | None = None
        self.last: dict[str, Any] | None = None
        self._n_counted, self._reason = 0, NO_NUMBER

    def reset(self) -> None:
        """Begin a new item."""
        if self.apart:
            self.metric.reset()
        self.last = None
        self._n_counted, self._reason = 0, NO_NUMBER

    def _depends_on(self) -> tuple[object, ...]:
        return tuple(map(fingerprint, self.metric.networks))

    def update(self, segment: Segment) -> None:
        """Measure a segment; one that the metric cannot measure does not count."""
        with torch.no_grad():
            self.metric.update(segment.audio[None], segment.sample_rate_hz, [Target.of(segment.clip, segment.plan)])
        self._n_counted += not self.metric.skipped
        self._reason = self.metric.skipped.get(0, self._reason)

    def result(self) -> Score:
        """The value of the item, where the metric has one for a single item."""
        if not self._n_counted:
            return Score(reason=self._reason)
        if not self.apart:
            return Score(reason=OF_MANY)
        value = self.metric.compute() if self.metric.per_sample else None
        self.last = self._state()
        self.add(self.last)
        return Score(reason=OF_MANY) if value is None else finite(float(value))

    def _state(self) -> dict[str, Any]:
        """The states now; lists are copied, because a reset empties them."""
        states = self.metric.metric_state
        return {name: list(value) if isinstance(value, list) else value for name, value in states.items()}

    def add(self, state: Mapping[str, Any]) -> None:
        """Count an item whose states are these."""
        self._restore(state)
        if self.all is not None:
            self.metric.merge_state(self.all)
        self.all = self._state()

    def _restore(self, state: Mapping[str, Any]) -> None:
        self.metric.reset()
        for name, value in state.items():
            setattr(self.metric, name, list(value) if isinstance(value, list) else value)

    def total(self) -> Score:
        """The value of all items."""
        if self.all is None:
            return Score(reason="no file counts")
        try:
            self._restore(self.all)
            with warnings.catch_warnings():  # the states were put there without an update
                warnings.simplefilter("ignore")
                return finite(float(self.metric.compute()))
        except Exception as error:  # noqa: BLE001 - a metric of somebody else's may raise anything
            return failure(error)


def finite(value: float) -> Score:
    """A score, if it is a finite number."""
    return Score(value) if math.isfinite(value) else Score(reason=NO_NUMBER)


def failure(error: Exception) -> Score:
    """The place of a score that could not be had: what a PrismAudioError says is no failure."""
    if isinstance(error, PrismAudioError):
        return Score(reason=str(error))
    return Score(reason=f"it failed: {with_class(error, 200)}", failed=True)
