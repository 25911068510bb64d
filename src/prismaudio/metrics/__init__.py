"""Metrics: torchmetrics over many clips. Every metric of sound is updated with (audio, sample_rate_hz, targets)."""

from prismaudio.metrics.base import AudioMetric
from prismaudio.metrics.target import Target

__all__ = ["AudioMetric", "Target"]
