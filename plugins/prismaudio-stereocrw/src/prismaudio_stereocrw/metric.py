"""CRW-MSE: how far time differences between the channels are from those of the reference."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from prismaudio.audio.covering import repeated
from prismaudio.audio.interaural import PUBLISHED_MAX_ITD_S
from prismaudio.audio.resample import resample
from prismaudio.metrics.itd import RELEASE_WINDOWS, ItdMse, window_starts, windows_of
from prismaudio_stereocrw.listening import CrwListener
from prismaudio_stereocrw.network import RATE_HZ, CrwNetwork

RELEASE_PATCHES = 513
TOGETHER = 32
"""Windows that are listened to together, 34 MB for each comparison of all their patches."""


class CrwMse(ItdMse):
    """Mean over clips of the squared error of the mean time difference by StereoCRW, in ms² × 1000.

    Windows of 0.27 s begin every 0.1 s, 0.12 s early, moved into the sound, up to its end; StereoCRW says the time
    difference in each.

    Args:
        weights: The published ``FreeMusic-StereoCRW-1024.pth.tar``, or its tensors as ``.safetensors``; None to look
            where they are kept.
        n_windows: Windows of a clip; None for as many as its length takes.
        n_patches: Patches of a window, each a sample after the other. With as many as published, 10,260 patches are
            embedded for a second of a clip and its reference: for a GPU only.
        release: Look at 100 windows of 513 patches as published: in shorter clips than 10 s the last one repeats, and
            what comes after 10 s is not heard.
        precision: ``"fp32"``, or ``"bf16"`` for a network of half the cost.
        network: A network in place of published weights.

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
        self.listener = CrwListener(weights, network, 0.24, n_patches, precision)

    @property
    def networks(self) -> Sequence[nn.Module]:
        """The network that it measures with."""
        return (self.listener.network,)

    def itd_ms(self, sound: Tensor, sample_rate_hz: int) -> Tensor:
        """Mean time difference of audio ``(2, samples)`` over its windows, in ms."""
        length = self.listener.window_samples
        heard = repeated(resample(sound.float().to(self.device), sample_rate_hz, RATE_HZ), length)
        n_windows = self.n_windows or windows_of(heard.shape[-1])
        starts = window_starts(heard.shape[-1], n_windows, length)
        places, counts = starts.unique(return_counts=True)  # the last windows of a short sound are the same
        windows = torch.stack([heard[:, place : place + length] for place in places.tolist()])
        found = [self.listener.delays_s(some).mean(-1).double() for some in windows.split(TOGETHER)]
        return 1000 * (torch.cat(found) * counts.to(heard.device)).sum() / len(starts)
