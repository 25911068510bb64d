"""Whether words about quality and room are heard."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from prismaudio.errors import NotApplicableError
from prismaudio.metrics.base import AudioMetric
from prismaudio.metrics.target import measure_late_energy_db, measure_noise_floor_db

if TYPE_CHECKING:
    from prismaudio.metrics.target import Target


class DifferenceAdherence(AudioMetric):
    """Which share of the true difference between two kinds of clip a sound shows.

    The share is (mean with - mean without) measured, divided by the same for the true sound: 1 is the whole
    difference, 0 is none.
    """

    dimension, needs, per_sample = "aesthetic", frozenset({"plan"}), False
    sums: Tensor

    def __init__(self) -> None:
        super().__init__()
        # rows: without, with; columns: count, measured, true
        self.add_state("sums", torch.zeros(2, 3, dtype=torch.float64), dist_reduce_fx="sum")

    @abstractmethod
    def kind(self, truth: Target) -> int | None:
        """1 for a clip with the attribute, 0 for one without, None for one that does not count."""

    @abstractmethod
    def measure(self, sound: Tensor, sample_rate_hz: int, truth: Target) -> tuple[float | None, float | None]:
        """Level in dB of the audio ``(2, samples)`` and of the true sound."""

    def observe(self, sound: Tensor, sample_rate_hz: int, truth: Target) -> None:
        """Measure one audio ``(2, samples)``, if it counts and levels of the true sound are known."""
        kind = self.kind(truth)
        if kind is None:
            raise NotApplicableError("the plan states neither of the two kinds that it tells apart")
        measured_db, true_db = self.measure(sound, sample_rate_hz, truth)
        if measured_db is None or true_db is None:
            raise NotApplicableError("it cannot be measured on this sound, or on its reference")
        row = torch.zeros_like(self.sums)
        row[kind] = torch.tensor([1.0, measured_db, true_db], dtype=torch.float64).to(self.sums)
        self.sums = self.sums + row

    def compute(self) -> Tensor:
        """Share of the true difference."""
        means = self.sums[:, 1:] / self.sums[:, :1]
        measured_db, true_db = means[1] - means[0]
        return measured_db / true_db


class NoiseFloorAdherence(DifferenceAdherence):
    """Share of the true difference in noise floor between noisy and clean clips."""

    def kind(self, truth: Target) -> int | None:
        """1 for noisy, 0 for clean."""
        return {"noisy": 1, "clean": 0}.get(truth.story.quality or "")

    def measure(self, sound: Tensor, sample_rate_hz: int, truth: Target) -> tuple[float | None, float | None]:
        """Noise floors in dB."""
        return measure_noise_floor_db(sound, sample_rate_hz), truth.noise_floor_db


class LateEnergyAdherence(DifferenceAdherence):
    """Share of the true difference in late energy between clips in a hall and dry ones; noisy clips do not count."""

    def kind(self, truth: Target) -> int | None:
        """1 for a hall, 0 for dry."""
        return None if truth.story.quality == "noisy" else {"hall": 1, "dry": 0}.get(truth.story.room or "")

    def measure(self, sound: Tensor, sample_rate_hz: int, truth: Target) -> tuple[float | None, float | None]:
        """Late energies in dB."""
        return measure_late_energy_db(sound, sample_rate_hz, truth), truth.late_energy_db
