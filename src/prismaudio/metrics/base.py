"""The contract of a metric of sound."""

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
    """Compares sounds with what should be heard, clip by clip; its states are sums, so processes add up.

    A clip that a metric cannot judge does not count. With nothing counted the result is NaN.

    Attributes:
        dimension: The dimension that it measures.
        needs: What a clip must have to be judged at all.
        range: The lowest and the highest value.
        higher_is_better: Whether a higher value is a better sound.
        per_sample: Whether one clip alone has a value; a distance of distributions has none.
        skipped: Why clips of the last update did not count, by their place in the batch.
    """

    full_state_update = False
    higher_is_better = True
    dimension: ClassVar[str | None] = None
    needs: frozenset[Need] = frozenset()
    range: tuple[float, float] = (-math.inf, math.inf)
    per_sample: ClassVar[bool] = True
    skipped: Mapping[int, str] = MappingProxyType({})

    def update(self, audio: Tensor, sample_rate_hz: int, targets: Sequence[Target]) -> None:
        """Observe the clips of a batch; those that cannot be judged do not count.

        Args:
            audio: Audio ``(batch, 2, samples)``.
            sample_rate_hz: Its sample rate.
            targets: What should be heard, one a clip.
        """
        skipped = {}
        for index, (sound, truth) in enumerate(zip(audio.detach().float().cpu(), targets, strict=True)):
            try:
                self.take(sound, sample_rate_hz, truth)
            except NotApplicableError as error:
                skipped[index] = str(error)
        self.skipped = skipped

    def take(self, sound: Tensor, sample_rate_hz: int, truth: Target) -> None:
        """Observe one audio ``(2, samples)``, if its clip has what is needed.

        Raises:
            NotApplicableError: This clip does not count; the text says why.
        """
        if self.needs:
            require(self.needs, truth.has)
        self.observe(sound, sample_rate_hz, truth)

    @property
    def networks(self) -> Sequence[nn.Module]:
        """The networks that it measures with; values by other weights are not taken for those by these."""
        return ()

    def keep_prepared(self, folder: Path | None) -> None:
        """Keep what it prepares of each clip, if it does, in a folder; None to keep nothing.

        Args:
            folder: The folder, which rewards and other metrics share.
        """

    @abstractmethod
    def observe(self, sound: Tensor, sample_rate_hz: int, truth: Target) -> None:
        """Take one audio ``(2, samples)``, float32 on the CPU, into account.

        Raises:
            NotApplicableError: This clip cannot be judged; the text says why.
        """


class Share(AudioMetric):
    """Share of the clips that count in which something is so."""

    range = (0.0, 1.0)
    right: Tensor
    total: Tensor

    def __init__(self) -> None:
        super().__init__()
        for name in ("right", "total"):
            self.add_state(name, torch.tensor(0.0, dtype=torch.float64), dist_reduce_fx="sum")

    def observe(self, sound: Tensor, sample_rate_hz: int, truth: Target) -> None:
        """Judge one audio ``(2, samples)``, if it counts."""
        self.right = self.right + float(self.judge(sound, sample_rate_hz, truth))
        self.total = self.total + 1

    @abstractmethod
    def judge(self, sound: Tensor, sample_rate_hz: int, truth: Target) -> bool:
        """Whether it is so in audio ``(2, samples)``.

        Raises:
            NotApplicableError: This clip does not count; the text says why.
        """

    def compute(self) -> Tensor:
        """Share in 0 .. 1."""
        return self.right / self.total
