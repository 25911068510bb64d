"""Rewards and metrics side by side: each hears a file window by window, and says what it is worth or why it cannot."""

from __future__ import annotations

import math
import warnings
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from prismaudio.errors import CheckpointError, NotApplicableError, PrismAudioError
from prismaudio.metrics.truth import Truth
from prismaudio.plan import Plan
from prismaudio.rewards import prepare

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from prismaudio.metrics.base import SoundMetric
    from prismaudio.rewards import Reward
    from prismaudio.types import Clip, Need

NO_NUMBER = "there is nothing to measure"
OF_MANY = "it is a number of many files"


@dataclass(frozen=True)
class Part:
    """A window of a file: what is heard, and what it is compared with.

    Args:
        audio: The sound ``(2, samples)``.
        sample_rate_hz: Its sample rate.
        clip: The pictures and, as its sound, the reference.
        plan: The plan of the window; None without one.
    """

    audio: Tensor
    sample_rate_hz: int
    clip: Clip
    plan: Plan | None


@dataclass(frozen=True)
class Score:
    """What a reward or a metric says of a sound.

    Args:
        value: The score; None when there is none.
        reason: Why there is none.
        failed: Whether that is a failure, of the machine or of a plugin.
    """

    value: float | None = None
    reason: str = ""
    failed: bool = False


class Judge(ABC):
    """A reward or a metric, or the place of one that cannot be had.

    Args:
        name: Its name.
        kind: ``"rewards"`` or ``"metrics"``.
        dimension: The dimension that it judges.
        source: Distribution and version that it comes from.
    """

    range: tuple[float, float] = (-math.inf, math.inf)
    higher_is_better: bool | None = None
    reads: frozenset[Need] = frozenset()

    def __init__(self, name: str, kind: str, dimension: str | None, source: str) -> None:
        self.name, self.kind, self.dimension, self.source = name, kind, dimension, source
        self.broken: Score | None = None
        self.lost: Score | None = None

    def begin(self) -> None:
        """A new file comes."""
        self.broken = self.lost

    def hear(self, part: Part) -> None:
        """Hear a window of it; whatever goes wrong is no other judge's concern."""
        if self.broken is None:
            try:
                self._hear(part)
            except CheckpointError as error:  # weights that are missing are missed by every file
                self.broken = self.lost = Score(reason=str(error))
            except Exception as error:  # noqa: BLE001 - a network of somebody else's may raise anything
                self.broken = failure(error)

    def end(self) -> Score:
        """What the file is worth."""
        try:
            return self.broken or self._end()
        except Exception as error:  # noqa: BLE001 - as above
            return failure(error)

    @abstractmethod
    def _hear(self, part: Part) -> None: ...

    @abstractmethod
    def _end(self) -> Score: ...


class Absent(Judge):
    """The place of a reward or a metric that cannot be had.

    Args:
        reason: Why.
    """

    def __init__(self, name: str, kind: str, dimension: str | None, source: str, reason: str) -> None:
        super().__init__(name, kind, dimension, source)
        self.reason = reason

    def _hear(self, part: Part) -> None:
        pass

    def _end(self) -> Score:
        return Score(reason=self.reason)


class RewardJudge(Judge):
    """A reward; the score of a file is the mean over its windows, by their length.

    Args:
        reward: The reward.
        device: Where it hears.
        folder: Where what it prepares is kept; None to keep nothing.
    """

    def __init__(
        self, name: str, dimension: str | None, source: str, reward: Reward, device: torch.device, folder: Path | None
    ) -> None:
        super().__init__(name, "rewards", dimension, source)
        self.reward, self.device, self.folder = reward, device, folder
        self.range, self.higher_is_better = reward.range, reward.higher_is_better
        self.reads = reward.reads | reward.needs
        self._weighted, self._weight, self._reason = 0.0, 0.0, NO_NUMBER

    def begin(self) -> None:
        """A new file comes."""
        super().begin()
        self._weighted, self._weight, self._reason = 0.0, 0.0, NO_NUMBER

    def _hear(self, part: Part) -> None:
        try:
            cache = prepare(self.reward, part.clip, part.plan or Plan({}), self.folder)
        except NotApplicableError as error:
            self._reason = str(error)
            return
        with torch.no_grad():
            audio = part.audio[None].to(self.device)
            value = float(self.reward.score(audio, part.sample_rate_hz, [cache])[0])
        self._weighted += part.clip.duration_s * value
        self._weight += part.clip.duration_s

    def _end(self) -> Score:
        return said(self._weighted / self._weight) if self._weight else Score(reason=self._reason)


class MetricJudge(Judge):
    """A metric: what one file alone is worth, and all files that were heard together.

    Args:
        metric: The metric.
        device: Where its states are.

    Attributes:
        last: The states of the file that ended last; None when it does not count.
    """

    def __init__(
        self, name: str, dimension: str | None, source: str, metric: SoundMetric, device: torch.device
    ) -> None:
        super().__init__(name, "metrics", dimension, source)
        self.metric = metric.to(device)
        self.range, self.higher_is_better = metric.range, metric.higher_is_better
        self.reads = metric.needs
        self.all: dict[str, Any] | None = None
        self.last: dict[str, Any] | None = None
        self._n_heard, self._reason = 0, NO_NUMBER

    def begin(self) -> None:
        """A new file comes."""
        super().begin()
        self.metric.reset()
        self.last = None
        self._n_heard, self._reason = 0, NO_NUMBER

    def _hear(self, part: Part) -> None:
        with torch.no_grad():
            self.metric.update(part.audio[None], part.sample_rate_hz, [Truth.of(part.clip, part.plan)])
        self._n_heard += not self.metric.left_out
        self._reason = self.metric.left_out.get(0, self._reason)

    def _end(self) -> Score:
        if not self._n_heard:
            return Score(reason=self._reason)
        value = self.metric.compute() if self.metric.of_one else None
        self.last = self._state()
        self.add(self.last)
        return Score(reason=OF_MANY) if value is None else said(float(value))

    def _state(self) -> dict[str, Any]:
        """The states now; lists are copied, because a reset empties them."""
        states = self.metric.metric_state
        return {name: list(value) if isinstance(value, list) else value for name, value in states.items()}

    def add(self, state: Mapping[str, Any]) -> None:
        """Count a file whose states are these."""
        self._restore(state)
        if self.all is not None:
            self.metric.merge_state(self.all)
        self.all = self._state()

    def _restore(self, state: Mapping[str, Any]) -> None:
        self.metric.reset()
        for name, value in state.items():
            setattr(self.metric, name, list(value) if isinstance(value, list) else value)

    def total(self) -> Score:
        """The value of all files."""
        if self.all is None:
            return Score(reason="no file counts")
        try:
            self._restore(self.all)
            with warnings.catch_warnings():  # the states were put there without an update
                warnings.simplefilter("ignore")
                return said(float(self.metric.compute()))
        except Exception as error:  # noqa: BLE001 - a metric of somebody else's may raise anything
            return failure(error)


def said(value: float) -> Score:
    """A score, if it is a number."""
    return Score(value) if math.isfinite(value) else Score(reason=NO_NUMBER)


def failure(error: Exception) -> Score:
    """The place of a score that could not be had: what a PrismAudioError says is no failure."""
    if isinstance(error, PrismAudioError):
        return Score(reason=str(error))
    text = " ".join(str(error).split())[:200]
    return Score(reason=f"it failed: {type(error).__name__}: {text}", failed=True)
