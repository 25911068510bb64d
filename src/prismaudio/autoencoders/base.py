"""The contract of an autoencoder."""

import math
from abc import ABC, abstractmethod
from fractions import Fraction

from torch import Tensor, nn


class Autoencoder(nn.Module, ABC):
    """Turns stereo sound into latents and back.

    Attributes:
        sample_rate_hz: Sample rate of the sound that it takes and gives.
        hop: Samples per latent frame.
        channels: Channels of a latent frame.
        any_length: Whether it decodes any length in constant memory, without a seam; others are given pieces.
    """

    sample_rate_hz: int
    hop: int
    channels: int
    any_length = False

    def n_frames(self, duration_s: float) -> int:
        """Latent frames that hold a duration in seconds."""
        return math.ceil(Fraction(duration_s).limit_denominator(1_000_000) * Fraction(self.sample_rate_hz, self.hop))

    @abstractmethod
    def encode(self, audio: Tensor) -> Tensor:
        """Latents ``(batch, channels, frames)`` of audio ``(batch, 2, samples)``; frames = ceil(samples / hop)."""

    @abstractmethod
    def decode(self, latents: Tensor) -> Tensor:
        """Audio ``(batch, 2, frames * hop)`` of latents ``(batch, channels, frames)``."""
