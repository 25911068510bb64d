"""Adherence of generated audio to the sound quality and room that a plan states."""

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
    """Measured difference in level between clips with and without an attribute, relative to the true difference.

    It is (mean with - mean without) of the generated audio, divided by the same difference of the reference audio:
    1 is the full difference, 0 is none.
    """

    dimension, needs, per_sample = "aesthetic", frozenset({"plan"}), False
    sums: Tensor

    def __init__(self) -> None:
        super().__init__()
        # rows: without, with; columns: count, measured, reference
        self.add_state("sums", torch.zeros(2, 3, dtype=torch.float64), dist_reduce_fx="sum")

    @abstractmethod
    def kind(self, target: Target) -> int | None:
        """1 for a clip with the attribute, 0 for one without, None if the metric does not apply."""

    @abstractmethod
    def measure(self, audio: Tensor, sample_rate_hz: int, target: Target) -> tuple[float | None, float | None]:
        """Level in dB of the audio ``(2, samples)`` and of the reference audio; None where it cannot be measured."""

    def observe(self, audio: Tensor, sample_rate_hz: int, target: Target) -> None:
        """Add the audio ``(2, samples)`` of one clip.

        Raises:
            NotApplicableError: The plan states neither attribute, or a level cannot be measured.
        """
        kind = self.kind(target)
        if kind is None:
            raise NotApplicableError("the plan states neither of the two attributes that are compared")
        measured_db, true_db = self.measure(audio, sample_rate_hz, target)
        if measured_db is None or true_db is None:
            raise NotApplicableError("the level cannot be measured on this audio, or on its reference")
        row = torch.zeros_like(self.sums)
        row[kind] = torch.tensor([1.0, measured_db, true_db], dtype=torch.float64).to(self.sums)
        self.sums = self.sums + row

    def compute(self) -> Tensor:
        """Measured difference relative to the true difference."""
        means = self.sums[:, 1:] / self.sums[:, :1]
        measured_db, true_db = means[1] - means[0]
        return measured_db / true_db


class NoiseFloorAdherence(DifferenceAdherence):
    """Difference in noise floor between noisy and clean clips, relative to the true difference."""

    def kind(self, target: Target) -> int | None:
        """1 for noisy, 0 for clean."""
        return {"noisy": 1, "clean": 0}.get(target.story.quality or "")

    def measure(self, audio: Tensor, sample_rate_hz: int, target: Target) -> tuple[float | None, float | None]:
        """Noise floors in dB of the audio and of the reference."""
        return measure_noise_floor_db(audio, sample_rate_hz), target.noise_floor_db


class LateEnergyAdherence(DifferenceAdherence):
    """Difference in late energy between hall and dry clips, relative to the true difference; skips noisy clips."""

    def kind(self, target: Target) -> int | None:
        """1 for a hall, 0 for dry."""
        return None if target.story.quality == "noisy" else {"hall": 1, "dry": 0}.get(target.story.room or "")

    def measure(self, audio: Tensor, sample_rate_hz: int, target: Target) -> tuple[float | None, float | None]:
        """Late energies in dB of the audio and of the reference."""
        return measure_late_energy_db(audio, sample_rate_hz, target), target.late_energy_db
