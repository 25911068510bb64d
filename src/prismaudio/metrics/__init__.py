"""Metrics: torchmetrics over many clips. Every metric of sound is updated with (audio, sample_rate_hz, truths)."""

from prismaudio.metrics.base import SoundMetric
from prismaudio.metrics.truth import Truth

__all__ = ["SoundMetric", "Truth"]
