"""CRW-MSE: how far time differences between the channels are from those of the reference."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor

from prismaudio.audio.covering import repeated
from prismaudio.audio.interaural import PUBLISHED_MAX_ITD_S
from prismaudio.audio.resample import resample
from prismaudio.errors import NotApplicableError
from prismaudio.metrics.base import SoundMetric
from prismaudio_stereocrw.listening import CrwListener
from prismaudio_stereocrw.network import RATE_HZ, CrwNetwork

if TYPE_CHECKING:
    from prismaudio.metrics.truth import Truth
    from prismaudio.types import Need

WINDOWS_PER_S, LEAD_S = 10, 0.12
RELEASE_WINDOWS, RELEASE_PATCHES = 100, 513
TOGETHER = 32
"""Windows that are listened to together, 34 MB for each comparison of all their patches."""


class CrwMse(SoundMetric):
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

    dimension = "spatial"
    needs: frozenset[Need] = frozenset({"reference"})
    range = (0.0, 1000 * (2000 * PUBLISHED_MAX_ITD_S) ** 2)
    higher_is_better = False
    squares: Tensor
    total: Tensor

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
        for name in ("squares", "total"):
            self.add_state(name, torch.tensor(0.0, dtype=torch.float64), dist_reduce_fx="sum")

    def observe(self, sound: Tensor, sample_rate_hz: int, truth: Truth) -> None:
        """Compare one sound ``(2, samples)`` with its reference."""
        clip = truth.clip
        if clip is None or clip.audio is None or clip.sample_rate_hz is None:
            raise NotApplicableError("it needs a reference sound, and there is none")
        found_ms, wanted_ms = self.itd_ms(sound, sample_rate_hz), self.itd_ms(clip.audio, clip.sample_rate_hz)
        self.squares = self.squares + (found_ms - wanted_ms).square()
        self.total = self.total + 1

    def itd_ms(self, sound: Tensor, sample_rate_hz: int) -> Tensor:
        """Mean time difference of a sound ``(2, samples)`` over its windows, in ms."""
        length = self.listener.window_samples
        heard = repeated(resample(sound.float().to(self.device), sample_rate_hz, RATE_HZ), length)
        n_windows = self.n_windows or math.ceil(heard.shape[-1] / RATE_HZ * WINDOWS_PER_S)
        starts = window_starts(heard.shape[-1], length, n_windows)
        places = sorted(set(starts))  # the last windows of a short sound are the same
        windows = torch.stack([heard[:, place : place + length] for place in places])
        counts = torch.tensor([starts.count(place) for place in places], device=heard.device)
        found = [self.listener.delays_s(some).mean(-1).double() for some in windows.split(TOGETHER)]
        return 1000 * (torch.cat(found) * counts).sum() / len(starts)

    def compute(self) -> Tensor:
        """The mean over the clips."""
        return 1000 * self.squares / self.total


def window_starts(n_samples: int, length: int, n_windows: int) -> list[int]:
    """First sample of each window, one every 0.1 s at 16 kHz.

    Example:
        >>> window_starts(20_000, 4352, 5)
        [0, 0, 1280, 2880, 4480]
    """
    starts = (int((i / WINDOWS_PER_S - LEAD_S) * RATE_HZ) for i in range(n_windows))
    return [min(max(start, 0), n_samples - length) for start in starts]
