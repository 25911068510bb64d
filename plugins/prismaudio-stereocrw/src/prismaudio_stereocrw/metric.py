"""CRW-MSE: error of time differences between the channels against the reference."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from prismaudio.audio.covering import repeated
from prismaudio.audio.interaural import PUBLISHED_MAX_ITD_S
from prismaudio.audio.resample import resample
from prismaudio.metrics.itd import RELEASE_WINDOWS, ItdMse, window_starts, windows_of
from prismaudio_stereocrw.estimator import CrwEstimator
from prismaudio_stereocrw.network import RATE_HZ, CrwNetwork

RELEASE_PATCHES = 513
CHUNK_ROWS = 32
"""Segments per batch, 34 MB for each affinity of all their patches."""


class CrwMse(ItdMse):
    """Mean over clips of the squared error of the mean time difference by StereoCRW, in ms² × 1000.

    StereoCRW estimates the time difference in segments of 0.27 s that begin every 0.1 s, 0.12 s early, clamped to the
    audio.

    Args:
        weights: The published ``FreeMusic-StereoCRW-1024.pth.tar``, or its tensors as ``.safetensors``; None for
            the default locations.
        n_windows: Segments per clip; None to cover its length.
        n_patches: Patches per segment, one sample apart. With the published number, 10,260 patches are embedded per
            second of a clip and its reference, which needs a GPU.
        release: Use 100 segments of 513 patches as published: in clips shorter than 10 s the last one is repeated, and
            audio after 10 s is ignored.
        precision: ``"fp32"``, or ``"bf16"`` at half the cost.
        network: A network to use instead of published weights.

    Source:
        The evaluation of "Both Ears Wide Open" (https://github.com/PeiwenSun2000/Both-Ears-Wide-Open), by authors of
        PrismAudio.
    """

    range = (0.0, 1000 * (2000 * PUBLISHED_MAX_ITD_S) ** 2)

    def __init__(
        self,
        weights: str | None = None,
        n_windows: int | None = None,
        n_patches: int = 513,
        release: bool = False,  # noqa: FBT001, FBT002  (an option of a recipe)
        precision: Literal["fp32", "bf16"] = "fp32",
        network: CrwNetwork | None = None,
    ) -> None:
        super().__init__()
        self.n_windows, n_patches = (RELEASE_WINDOWS, RELEASE_PATCHES) if release else (n_windows, n_patches)
        self.estimator = CrwEstimator(weights, network, 0.24, n_patches, precision)

    @property
    def networks(self) -> Sequence[nn.Module]:
        """The embedding network."""
        return (self.estimator.network,)

    def itd_ms(self, audio: Tensor, sample_rate_hz: int) -> Tensor:
        """Mean time difference of audio ``(2, samples)`` over its segments, in ms."""
        length = self.estimator.window_samples
        resampled = repeated(resample(audio.float().to(self.device), sample_rate_hz, RATE_HZ), length)
        n_windows = self.n_windows or windows_of(resampled.shape[-1])
        starts = window_starts(resampled.shape[-1], n_windows, length)
        places, counts = starts.unique(return_counts=True)  # the last segments of short audio coincide
        windows = torch.stack([resampled[:, place : place + length] for place in places.tolist()])
        found = [self.estimator.delays_s(some).mean(-1).double() for some in windows.split(CHUNK_ROWS)]
        return 1000 * (torch.cat(found) * counts.to(resampled.device)).sum() / len(starts)
