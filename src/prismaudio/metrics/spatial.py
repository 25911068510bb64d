"""Metrics of the direction of sources."""

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
"""Measured part of an event: from 5 ms before its onset to 75 ms after it."""
LEAD_S = 0.005
MIN_EVENTS = 3
"""Fewest events that have a correlation."""
MIN_AZIMUTH_DEG = 10.0
"""Smallest azimuth that counts as a side."""


def event_parts(audio: Tensor, sample_rate_hz: int, target: Target) -> Iterator[tuple[float, Tensor]]:
    """Azimuth in degrees and audio ``(2, samples)`` of every event during which no other source is active."""
    for event in target.events:
        if event.azimuth_deg is None or not isolated(target, event, RINGING_S, WINDOW_S):
            continue
        part = cut(audio, sample_rate_hz, event.time_s - LEAD_S, WINDOW_S)
        if part.shape[-1] >= 0.02 * sample_rate_hz and float(part.abs().amax()) > 1e-4:
            yield event.azimuth_deg, part


class StereoCorrelation(AudioMetric):
    """Pearson correlation, over events, of an interaural difference with the sine of the true azimuth.

    It is NaN with fewer than three events, of which any two correlate perfectly.
    """

    dimension, needs, range = "spatial", frozenset({"plan"}), (-1.0, 1.0)
    sums: Tensor

    def __init__(self) -> None:
        super().__init__()
        # n, x, y, x * x, y * y, x * y
        self.add_state("sums", torch.zeros(6, dtype=torch.float64), dist_reduce_fx="sum")

    @abstractmethod
    def measure(self, part: Tensor, sample_rate_hz: int) -> float:
        """The interaural difference of a part of audio ``(2, samples)``."""

    def observe(self, audio: Tensor, sample_rate_hz: int, target: Target) -> None:
        """Add the isolated events of audio ``(2, samples)``."""
        parts = list(event_parts(audio, sample_rate_hz, target))
        if not parts:
            raise NotApplicableError("no event with a stated direction is isolated from other sources")
        for azimuth_deg, part in parts:
            x, y = math.sin(math.radians(azimuth_deg)), self.measure(part, sample_rate_hz)
            self.sums = self.sums + torch.tensor([1.0, x, y, x * x, y * y, x * y], dtype=torch.float64).to(self.sums)

    def compute(self) -> Tensor:
        """Correlation in -1 .. 1."""
        n, x, y, xx, yy, xy = self.sums
        if n < MIN_EVENTS:
            return n.new_tensor(math.nan)
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
    """Share of the clips whose audio comes from the side that the plan states.

    The side of a clip is the sign of the summed level difference of its isolated events; clips with a mean azimuth
    within 10 degrees of the center are skipped.
    """

    dimension, needs = "spatial", frozenset({"plan"})

    def is_correct(self, audio: Tensor, sample_rate_hz: int, target: Target) -> bool:
        """Whether audio ``(2, samples)`` comes from the side that the plan states."""
        azimuths = [event.azimuth_deg for event in target.events if event.azimuth_deg is not None]
        true_deg = sum(azimuths) / max(1, len(azimuths))
        if abs(true_deg) < MIN_AZIMUTH_DEG:
            raise NotApplicableError("the plan places the audio on neither side")
        return sum(float(ild_db(part)) for _, part in event_parts(audio, sample_rate_hz, target)) * true_deg > 0
