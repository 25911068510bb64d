"""The metric: by how many seconds sounds are out of time."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor, nn

from prismaudio.downloads import cache_home
from prismaudio.errors import NotApplicableError
from prismaudio.metrics.base import AudioMetric
from prismaudio.plan import Plan
from prismaudio.rewards.preparing import prepare
from prismaudio_synchformer.network import Synchformer
from prismaudio_synchformer.offsets import apart_s
from prismaudio_synchformer.reward import Precision, SynchformerReward

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from prismaudio.metrics.target import Target


class DeSync(AudioMetric):
    """Mean distance in seconds of the likeliest offset from 0, over the first and the last 4.8 s of every clip.

    Args:
        weights: A file, a folder that has it, or ``owner/name`` on the Hugging Face hub; None for the published one.
        precision: ``"fp32"``, or ``"bf16"`` for the network in mixed precision.
        keep: Keep what is seen in a clip in the cache of PrismAudio, where ``prismaudio score`` keeps that of the
            reward; it takes nearly all of the time.
        network: The network itself, in place of weights.

    Source:
        DeSync of av-benchmark, from its specification.
    """

    higher_is_better = False
    dimension: ClassVar[str | None] = "temporal"
    needs = frozenset({"video"})
    range = (0.0, 2.0)
    total_s: Tensor
    windows: Tensor

    def __init__(
        self,
        weights: str | None = None,
        precision: Precision = "fp32",
        keep: bool = True,  # noqa: FBT001, FBT002  (a recipe's key)
        network: Synchformer | None = None,
    ) -> None:
        super().__init__()
        self.reward = SynchformerReward(weights, "argmax", precision=precision, network=network)
        self._folder = cache_home() / "prepared" if keep else None
        for name in ("total_s", "windows"):
            self.add_state(name, torch.tensor(0.0, dtype=torch.float64), dist_reduce_fx="sum")

    @property
    def networks(self) -> Sequence[nn.Module]:
        """The network that it measures with."""
        return (self.reward.network,)

    def keep_prepared(self, folder: Path | None) -> None:
        """Keep what is seen in a clip in a folder; None to keep nothing."""
        self._folder = folder

    def observe(self, sound: Tensor, sample_rate_hz: int, truth: Target) -> None:
        """Judge one audio ``(2, samples)`` in both windows."""
        if truth.clip is None:
            raise NotApplicableError("it needs frames, and there are none")
        cache = prepare(self.reward, truth.clip, truth.plan or Plan({}), self._folder)
        (logits,) = self.reward.logits(sound[None].to(self.device), sample_rate_hz, [cache], ends)
        distances = apart_s(logits, "argmax").double()
        self.total_s = self.total_s + distances.sum()
        self.windows = self.windows + len(distances)

    def compute(self) -> Tensor:
        """Seconds, 0 .. 2."""
        return self.total_s / self.windows


def ends(segments: int, window: int) -> list[int]:
    """First segments of the first and of the last window.

    Example:
        >>> ends(30, 14)
        [0, 16]
    """
    return [0, segments - window]
