"""Base class of autoencoders."""

import math
from abc import ABC, abstractmethod
from fractions import Fraction

from torch import Tensor, nn


class Autoencoder(nn.Module, ABC):
    """Base class of autoencoders: encodes stereo audio to latents and decodes latents to audio.

    Attributes:
        sample_rate_hz: Sample rate of input and output audio.
        hop: Audio samples per latent frame.
        channels: Number of latent channels.
        any_length: Whether audio of any length is decoded in constant memory and without seams; otherwise the caller
            splits it into segments.
        half_precision: Whether :meth:`decode` may run with weights in float16: the difference is not audible, as
            ``prismaudio bench model --device cuda`` measures it.
    """

    sample_rate_hz: int
    hop: int
    channels: int
    any_length = False
    half_precision = False

    def n_frames(self, duration_s: float) -> int:
        """Return the number of latent frames that cover a duration in seconds."""
        return math.ceil(Fraction(duration_s).limit_denominator(1_000_000) * Fraction(self.sample_rate_hz, self.hop))

    @abstractmethod
    def encode(self, audio: Tensor) -> Tensor:
        """Encode audio ``(batch, 2, samples)`` to latents ``(batch, channels, ceil(samples / hop))``."""

    @abstractmethod
    def decode(self, latents: Tensor) -> Tensor:
        """Decode latents ``(batch, channels, frames)`` to audio ``(batch, 2, frames * hop)``."""

    def compile_decoder(self) -> None:
        """Compile the layers that decode with ``torch.compile``, in place; an autoencoder without any does nothing."""
