"""The contract of an audio metric."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from types import MappingProxyType
from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor, nn
from torchmetrics import Metric

from prismaudio.errors import NotApplicableError
from prismaudio.types import require

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from prismaudio.metrics.target import Target
    from prismaudio.types import Need


class AudioMetric(Metric, ABC):
    """Compares generated audio with its targets, clip by clip; the states are sums, so processes can be merged.

    Clips that the metric cannot measure are skipped. If no clip was measured, the result is NaN.

    Attributes:
        dimension: The perceptual dimension that it measures.
        needs: Inputs that a clip must have to be measured.
        range: The lowest and the highest value.
        higher_is_better: Whether higher values are better.
        per_sample: Whether a single clip has a value; a distance of distributions has none.
        skipped: Reasons why clips of the last update were skipped, by index in the batch.
    """

    full_state_update = False
    higher_is_better = True
    dimension: ClassVar[str | None] = None
    needs: frozenset[Need] = frozenset()
    range: tuple[float, float] = (-math.inf, math.inf)
    per_sample: ClassVar[bool] = True
    skipped: Mapping[int, str] = MappingProxyType({})

    def update(self, audio: Tensor, sample_rate_hz: int, targets: Sequence[Target]) -> None:
        """Add the clips of a batch; those that cannot be measured are skipped.

        Args:
            audio: Audio ``(batch, 2, samples)``.
            sample_rate_hz: Its sample rate.
            targets: Targets, one per clip.
        """
        skipped = {}
        for index, (row, target) in enumerate(zip(audio.detach().float().cpu(), targets, strict=True)):
            try:
                self.take(row, sample_rate_hz, target)
            except NotApplicableError as error:
                skipped[index] = str(error)
        self.skipped = skipped

    def take(self, audio: Tensor, sample_rate_hz: int, target: Target) -> None:
        """Add the audio ``(2, samples)`` of one clip after checking that its inputs are complete.

        Raises:
            NotApplicableError: This clip is skipped; the message states the reason.
        """
        if self.needs:
            require(self.needs, target.has)
        self.observe(audio, sample_rate_hz, target)

    def caution(self) -> str:
        """What the reader of the current value must know, such as that there are too few clips; empty for nothing."""
        return ""

    @property
    def networks(self) -> Sequence[nn.Module]:
        """The networks used for measuring; their weights are part of the identity of the values."""
        return ()

    def keep_prepared(self, folder: Path | None) -> None:
        """Set the folder for caches that the metric prepares per clip, if any.

        Args:
            folder: The folder, shared with rewards and other metrics; None to store nothing.
        """

    @abstractmethod
    def observe(self, audio: Tensor, sample_rate_hz: int, target: Target) -> None:
        """Add the audio ``(2, samples)`` of one clip, float32 on the CPU, to the states.

        Raises:
            NotApplicableError: This clip cannot be measured; the message states the reason.
        """


def reference_audio(target: Target) -> tuple[Tensor, int]:
    """The reference ``(2, samples)`` of a target, float32 on the CPU, and its sample rate.

    Raises:
        NotApplicableError: There is none.
    """
    clip = target.clip
    if clip is None or clip.audio is None or clip.sample_rate_hz is None:
        raise NotApplicableError("it needs reference audio, but there is none")
    return clip.audio.detach().float().cpu(), clip.sample_rate_hz


class MeanOfClips(AudioMetric):
    """Mean over clips of a value of each clip."""

    total: Tensor
    count: Tensor

    def __init__(self) -> None:
        super().__init__()
        for name in ("total", "count"):
            self.add_state(name, torch.tensor(0.0, dtype=torch.float64), dist_reduce_fx="sum")

    def add(self, values: Tensor) -> None:
        """Add the values of clips."""
        self.total = self.total + values.double().sum().to(self.total)
        self.count = self.count + values.numel()

    def compute(self) -> Tensor:
        """The mean over clips."""
        return self.total / self.count


class Share(AudioMetric):
    """Share of the measured clips that fulfil a criterion."""

    range = (0.0, 1.0)
    right: Tensor
    total: Tensor

    def __init__(self) -> None:
        super().__init__()
        for name in ("right", "total"):
            self.add_state(name, torch.tensor(0.0, dtype=torch.float64), dist_reduce_fx="sum")

    def observe(self, audio: Tensor, sample_rate_hz: int, target: Target) -> None:
        """Add whether the audio ``(2, samples)`` of one clip fulfils the criterion."""
        self.right = self.right + float(self.is_correct(audio, sample_rate_hz, target))
        self.total = self.total + 1

    @abstractmethod
    def is_correct(self, audio: Tensor, sample_rate_hz: int, target: Target) -> bool:
        """Whether audio ``(2, samples)`` fulfils the criterion.

        Raises:
            NotApplicableError: This clip is skipped; the message states the reason.
        """

    def compute(self) -> Tensor:
        """Share in 0 .. 1."""
        return self.right / self.total
