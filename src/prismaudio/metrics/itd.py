"""Errors of interaural time differences (ITD) against the reference."""

from __future__ import annotations

import math
from abc import abstractmethod
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from prismaudio.audio.interaural import PUBLISHED_FRAME, gcc_phat_itds_s
from prismaudio.audio.resample import resample
from prismaudio.metrics.base import MeanOfClips, reference_audio

if TYPE_CHECKING:
    from prismaudio.metrics.target import Target
    from prismaudio.types import Need

RATE_HZ = 16_000
WINDOW = PUBLISHED_FRAME + 512
"""Samples of a segment at 16 kHz."""
WINDOWS_PER_S, LEAD_S = 10, 0.12
RELEASE_WINDOWS = 100


def window_starts(n_samples: int, n_windows: int, length: int = WINDOW) -> Tensor:
    """First sample ``(n_windows,)`` of segments at 10 per second, clamped to the end of the audio.

    Args:
        n_samples: Length of the audio in samples at 16 kHz.
        n_windows: Number of segments.
        length: Length of a segment in samples at 16 kHz.

    Source:
        Evaluation code of BEWO (commit 92092eb8).

    Example:
        >>> window_starts(16_000, 4)
        tensor([   0,    0, 1280, 2880])
    """
    starts = [int((i / WINDOWS_PER_S - LEAD_S) * RATE_HZ) for i in range(n_windows)]
    return torch.tensor(starts).clamp(max=n_samples - length).clamp(min=0)


def windows_of(n_samples: int) -> int:
    """Default number of segments for audio of ``n_samples`` at 16 kHz."""
    return max(1, math.ceil(n_samples / RATE_HZ * WINDOWS_PER_S))


def windows(audio: Tensor, n_windows: int) -> Tensor:
    """Segments ``(n_windows, 2, 4352)`` of audio ``(2, samples)`` at 16 kHz, padded with silence to one segment."""
    audio = torch.nn.functional.pad(audio, (0, max(0, WINDOW - audio.shape[-1])))
    return audio.unfold(-1, WINDOW, 1).transpose(0, 1)[window_starts(audio.shape[-1], n_windows)]


class ItdMse(MeanOfClips):
    """1000 times the mean squared error of the mean time difference of a clip, in square milliseconds."""

    dimension = "spatial"
    needs: frozenset[Need] = frozenset({"reference"})
    range = (0.0, math.inf)
    higher_is_better = False

    @abstractmethod
    def itd_ms(self, audio: Tensor, sample_rate_hz: int) -> Tensor:
        """Mean time difference over the segments of audio ``(2, samples)``, in milliseconds; positive is right."""

    def observe(self, audio: Tensor, sample_rate_hz: int, target: Target) -> None:
        """Add the error of audio ``(2, samples)`` against its reference."""
        self.add(self.itd_ms(audio, sample_rate_hz) - self.itd_ms(*reference_audio(target)))

    def add(self, errors_ms: Tensor) -> None:
        """Add the errors of clips, in milliseconds."""
        super().add(1000 * errors_ms.double().square())


class GccMse(ItdMse):
    """GCC-MSE: 1000 times the mean squared error of time differences by GCC-PHAT, in square milliseconds.

    Args:
        release: Use 100 segments with one frame per sample as published, which takes 16 times as long: in clips
            shorter than 10 s the last segment is repeated, and audio after 10 s is ignored. Otherwise 10 segments per
            second of any length are used, with one frame per 16 samples.
    """

    def __init__(self, *, release: bool = False) -> None:
        super().__init__()
        self.release = release

    def itd_ms(self, audio: Tensor, sample_rate_hz: int) -> Tensor:
        """Mean over the frames of all segments of audio ``(2, samples)``, in milliseconds."""
        audio = resample(audio.detach().float(), sample_rate_hz, RATE_HZ)
        n_windows = RELEASE_WINDOWS if self.release else windows_of(audio.shape[-1])
        return 1000 * self.itds_s(windows(audio, n_windows)).double().mean()

    def itds_s(self, windows: Tensor) -> Tensor:
        """Mean over the frames of each segment ``(n, 2, 4352)``, in seconds ``(n,)``."""
        step = 1 if self.release else 16
        return gcc_phat_itds_s(windows, RATE_HZ, n_frames=(WINDOW - PUBLISHED_FRAME) // step + 1).mean(-1)
