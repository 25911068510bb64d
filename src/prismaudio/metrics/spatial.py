"""Whether sounds come from where they should."""

from __future__ import annotations

import math
from abc import abstractmethod
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from prismaudio.audio.covering import cut
from prismaudio.audio.interaural import ild_db, itd_s
from prismaudio.errors import NotApplicableError
from prismaudio.metrics.base import AudioMetric, Share
from prismaudio.metrics.target import isolated
from prismaudio.plan.story import RINGING_S

if TYPE_CHECKING:
    from collections.abc import Iterator

    from prismaudio.metrics.target import Target

WINDOW_S = 0.08
"""What is measured of an event: from 5 ms before it to 75 ms after it."""
LEAD_S = 0.005
MIN_AZIMUTH_DEG = 10.0
"""What is nearer to the middle than this has no side."""


def event_parts(sound: Tensor, sample_rate_hz: int, truth: Target) -> Iterator[tuple[float, Tensor]]:
    """Azimuth in degrees and audio ``(2, samples)`` of every event that no other source disturbs."""
    for event in truth.events:
        if event.azimuth_deg is None or not isolated(truth, event, RINGING_S, WINDOW_S):
            continue
        part = cut(sound, sample_rate_hz, event.time_s - LEAD_S, WINDOW_S)
        if part.shape[-1] >= 0.02 * sample_rate_hz and float(part.abs().amax()) > 1e-4:
            yield event.azimuth_deg, part


class StereoCorrelation(AudioMetric):
    """Pearson correlation, over events, of an interaural difference with the sine of the true azimuth."""

    dimension, needs, range = "spatial", frozenset({"plan"}), (-1.0, 1.0)
    sums: Tensor

    def __init__(self) -> None:
        super().__init__()
        # n, x, y, x * x, y * y, x * y
        self.add_state("sums", torch.zeros(6, dtype=torch.float64), dist_reduce_fx="sum")

    @abstractmethod
    def measure(self, part: Tensor, sample_rate_hz: int) -> float:
        """The interaural difference of a part of audio ``(2, samples)``."""

    def observe(self, sound: Tensor, sample_rate_hz: int, truth: Target) -> None:
        """Measure the events of one audio ``(2, samples)`` that no other source disturbs."""
        parts = list(event_parts(sound, sample_rate_hz, truth))
        if not parts:
            raise NotApplicableError("no event whose direction the plan states is heard by itself")
        for azimuth_deg, part in parts:
            x, y = math.sin(math.radians(azimuth_deg)), self.measure(part, sample_rate_hz)
            self.sums = self.sums + torch.tensor([1.0, x, y, x * x, y * y, x * y], dtype=torch.float64).to(self.sums)

    def compute(self) -> Tensor:
        """Correlation in -1 .. 1."""
        n, x, y, xx, yy, xy = self.sums
        spread = ((n * xx - x * x) * (n * yy - y * y)).clamp(min=0).sqrt()
        return (n * xy - x * y) / spread


class ItdCorrelation(StereoCorrelation):
    """Correlation of the interaural time difference of events with their true direction."""

    def measure(self, part: Tensor, sample_rate_hz: int) -> float:
        """Interaural time difference in milliseconds."""
        return 1000 * float(itd_s(part, sample_rate_hz))


class IldCorrelation(StereoCorrelation):
    """Correlation of the interaural level difference of events with their true direction."""

    def measure(self, part: Tensor, sample_rate_hz: int) -> float:
        """Interaural level difference in dB."""
        return float(ild_db(part))


class SideAdherence(Share):
    """Share of the clips that are heard from the side on which the story has them.

    The side of a clip is the sign of the mean level difference over its undisturbed events; clips whose story has
    them within 10 degrees of the middle do not count.
    """

    dimension, needs = "spatial", frozenset({"plan"})

    def judge(self, sound: Tensor, sample_rate_hz: int, truth: Target) -> bool:
        """Whether the side of audio ``(2, samples)`` is that of the story."""
        azimuths = [event.azimuth_deg for event in truth.events if event.azimuth_deg is not None]
        true_deg = sum(azimuths) / max(1, len(azimuths))
        if abs(true_deg) < MIN_AZIMUTH_DEG:
            raise NotApplicableError("the plan has the sound on neither side")
        return sum(float(ild_db(part)) for _, part in event_parts(sound, sample_rate_hz, truth)) * true_deg > 0
