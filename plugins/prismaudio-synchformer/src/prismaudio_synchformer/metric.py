"""The DeSync metric: audio-visual offset in seconds."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor, nn

from prismaudio.downloads import cache_home
from prismaudio.errors import DataError, NotApplicableError
from prismaudio.metrics.base import AudioMetric
from prismaudio.plan import Plan
from prismaudio.rewards.preparing import prepare
from prismaudio_synchformer.network import Synchformer
from prismaudio_synchformer.offsets import distance_s
from prismaudio_synchformer.reward import Precision, SynchformerReward

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from prismaudio.metrics.target import Target


class DeSync(AudioMetric):
    """Mean absolute value in seconds of the most likely offset, over the first and the last 4.8 s of every clip.

    Args:
        weights: A file, a folder that has it, or ``owner/name`` on the Hugging Face hub; None for the published one.
        precision: ``"fp32"``, or ``"bf16"`` for the network in mixed precision.
        keep: Store the visual features of a clip in the cache of PrismAudio, shared with the reward in
            ``prismaudio score``; they take nearly all of the time.
        network: A network to use instead of ``weights``.

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
        """The synchronization network."""
        return (self.reward.network,)

    def keep_prepared(self, folder: Path | None) -> None:
        """Store visual features in a folder; None to store nothing."""
        self._folder = folder

    def observe(self, audio: Tensor, sample_rate_hz: int, target: Target) -> None:
        """Add the offsets of audio ``(2, samples)`` at the start and the end of the clip."""
        if target.clip is None:
            raise NotApplicableError("it needs frames, but there are none")
        cache = prepare(self.reward, target.clip, target.plan or Plan({}), self._folder)
        (logits,) = self.reward.logits(audio[None].to(self.device), sample_rate_hz, [cache], ends)
        distances = distance_s(logits, "argmax").double()
        self.total_s = self.total_s + distances.sum()
        self.windows = self.windows + len(distances)

    @torch.no_grad()
    def feature_offset_s(self, visual: Tensor, audio: Tensor) -> Tensor:
        """Absolute value in seconds ``(batch,)`` of the most likely offset, from features; the states do not change.

        Args:
            visual: Features of frames ``(batch, 14, 8, dim)``, such as those of ``synchformer_video.pth``.
            audio: Features of audio ``(batch, 14, 6, dim)``, on the same device.

        Raises:
            DataError: The features are not those of this network.
        """
        dim = self.reward.network.vproj.in_features
        if (visual.shape[-1], audio.shape[-1]) != (dim, dim):
            raise DataError(
                f"features of Synchformer of {visual.shape[-1]} and {audio.shape[-1]} dimensions; "
                f"expected {dim} as of the weights"
            )
        return distance_s(self.reward.compare(visual, audio), "argmax")

    def compute(self) -> Tensor:
        """Seconds, 0 .. 2."""
        return self.total_s / self.windows


def ends(segments: int, window: int) -> list[int]:
    """Start of the first and of the last sequence of ``window`` segments.

    Example:
        >>> ends(30, 14)
        [0, 16]
    """
    return [0, segments - window]
