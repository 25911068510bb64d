"""Whether the time differences between the ears are those of the reference."""

from __future__ import annotations

import math
from abc import abstractmethod
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from prismaudio.audio.interaural import PUBLISHED_FRAME, gcc_phat_itds_s
from prismaudio.audio.resample import resample
from prismaudio.errors import NotApplicableError
from prismaudio.metrics.base import AudioMetric

if TYPE_CHECKING:
    from prismaudio.metrics.target import Target
    from prismaudio.types import Need

RATE_HZ = 16_000
WINDOW = PUBLISHED_FRAME + 512
"""Samples of a window at 16 kHz."""
WINDOWS_PER_S, LEAD_S = 10, 0.12
RELEASE_WINDOWS = 100


def window_starts(n_samples: int, n_windows: int, length: int = WINDOW) -> Tensor:
    """First sample ``(n_windows,)`` of windows at 10 per second, none beyond the end of the sound.

    Args:
        n_samples: Length of the sound at 16 kHz.
        n_windows: How many windows.
        length: Length of a window at 16 kHz.

    Source:
        Evaluation code of BEWO (commit 92092eb8).

    Example:
        >>> window_starts(16_000, 4)
        tensor([   0,    0, 1280, 2880])
    """
    starts = [int((i / WINDOWS_PER_S - LEAD_S) * RATE_HZ) for i in range(n_windows)]
    return torch.tensor(starts).clamp(max=n_samples - length).clamp(min=0)


def windows_of(n_samples: int) -> int:
    """How many windows a sound of a length at 16 kHz has, where a metric does not say it."""
    return max(1, math.ceil(n_samples / RATE_HZ * WINDOWS_PER_S))


def windows(sound: Tensor, n_windows: int) -> Tensor:
    """Windows ``(n_windows, 2, 4352)`` of audio ``(2, samples)`` at 16 kHz, padded with silence to one window."""
    sound = torch.nn.functional.pad(sound, (0, max(0, WINDOW - sound.shape[-1])))
    return sound.unfold(-1, WINDOW, 1).transpose(0, 1)[window_starts(sound.shape[-1], n_windows)]


class ItdMse(AudioMetric):
    """1000 times the mean square of the error of a clip's mean time difference in milliseconds."""

    dimension = "spatial"
    needs: frozenset[Need] = frozenset({"reference"})
    range = (0.0, math.inf)
    higher_is_better = False
    total: Tensor
    count: Tensor

    def __init__(self) -> None:
        super().__init__()
        for name in ("total", "count"):
            self.add_state(name, torch.tensor(0.0, dtype=torch.float64), dist_reduce_fx="sum")

    @abstractmethod
    def itd_ms(self, sound: Tensor, sample_rate_hz: int) -> Tensor:
        """Mean time difference over the windows of audio ``(2, samples)``, in milliseconds; positive is right."""

    def observe(self, sound: Tensor, sample_rate_hz: int, truth: Target) -> None:
        """Compare one audio ``(2, samples)`` with its reference."""
        clip = truth.clip
        if clip is None or clip.audio is None or clip.sample_rate_hz is None:
            raise NotApplicableError("it needs a reference sound, and there is none")
        self.add(self.itd_ms(sound, sample_rate_hz) - self.itd_ms(clip.audio.cpu(), clip.sample_rate_hz))

    def add(self, errors_ms: Tensor) -> None:
        """Take the errors of clips into account, in milliseconds."""
        self.total = self.total + 1000 * errors_ms.double().square().sum().to(self.total)
        self.count = self.count + errors_ms.numel()

    def compute(self) -> Tensor:
        """The mean over clips."""
        return self.total / self.count


class GccMse(ItdMse):
    """GCC-MSE: 1000 times the mean square error of time differences by GCC-PHAT, in square milliseconds.

    Args:
        release: Look at 100 windows and, in each, at a frame for every sample as published, which takes 16 times as
            long: in shorter clips than 10 s the last window repeats, and what comes after 10 s is not heard. Otherwise
            there are 10 windows a second, whatever the length, and a frame for every 16th sample.
    """

    def __init__(self, *, release: bool = False) -> None:
        super().__init__()
        self.release = release

    def itd_ms(self, sound: Tensor, sample_rate_hz: int) -> Tensor:
        """Mean over the frames of all windows of audio ``(2, samples)``, in milliseconds."""
        sound = resample(sound.detach().float(), sample_rate_hz, RATE_HZ)
        n_windows = RELEASE_WINDOWS if self.release else windows_of(sound.shape[-1])
        return 1000 * self.itds_s(windows(sound, n_windows)).double().mean()

    def itds_s(self, windows: Tensor) -> Tensor:
        """Mean over the frames of each window ``(n, 2, 4352)``, in seconds ``(n,)``."""
        step = 1 if self.release else 16
        return gcc_phat_itds_s(windows, RATE_HZ, n_frames=(WINDOW - PUBLISHED_FRAME) // step + 1).mean(-1)
