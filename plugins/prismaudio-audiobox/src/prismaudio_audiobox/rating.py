"""Ratings of audio of any length on the four axes."""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping
from typing import Literal

import torch
from torch import Tensor, nn

from prismaudio.audio.resample import sinc_resample
from prismaudio.errors import PrismAudioError
from prismaudio_audiobox.network import AXES, AudioboxNetwork
from prismaudio_audiobox.weights import SCALES, load_published

Implementation = Literal["native", "official"]
RATE_HZ = 16_000
CHUNK = 10 * RATE_HZ
"""Samples per chunk; the last chunk is padded."""
AT_ONCE = {"cpu": 8, "cuda": 16}
"""Chunks per forward pass; 8 take 1.6 GB in the first layers."""


class Rater:
    """Rates audio by Audiobox Aesthetics.

    It is not a module, so that the network is not part of the ``state_dict`` of its owner.

    Args:
        weights: The published weights; see :func:`prismaudio_audiobox.weights.load_published`.
        network: A network to use instead of the published one.
        precision: Precision of the network, ``"fp32"`` or ``"bf16"``.
        scales: Mean and standard deviation of each axis; None for those that come with the weights.
    """

    def __init__(
        self,
        weights: str | None = None,
        network: nn.Module | None = None,
        precision: str = "fp32",
        scales: Mapping[str, tuple[float, float]] | None = None,
    ) -> None:
        known: Mapping[str, tuple[float, float]] = SCALES
        if network is None:
            network, known = load_published(weights)
        self.network, self.precision = network.eval(), precision
        self.scales = torch.tensor([(scales or known)[axis] for axis in AXES]).T
        self._last: tuple[Tensor, int, Tensor] | None = None

    @torch.no_grad()
    def rate(self, audio: Tensor, sample_rate_hz: int) -> Tensor:
        """Ratings ``(batch, 4)`` of the axes CE, CU, PC and PQ, about 1 .. 10.

        Args:
            audio: Audio ``(batch, channels, samples)``; the network moves to its device.
            sample_rate_hz: Its sample rate.
        """
        check_audio(audio)
        mono = sinc_resample(audio.float().mean(1), sample_rate_hz, RATE_HZ)
        chunks, lengths = split(mono)
        ratings = self._scaled(chunks.flatten(0, 1), lengths.repeat(len(mono))).unflatten(0, chunks.shape[:2])
        shares = (lengths / lengths.sum()).to(ratings.device)
        return torch.einsum("bca,c->ba", ratings, shares)

    def rate_once(self, audio: Tensor, sample_rate_hz: int) -> Tensor:
        """What :meth:`rate` returns, computed once where metrics of several axes rate the same audio in turn."""
        if self._last is not None:
            known, rate_hz, ratings = self._last
            same = rate_hz == sample_rate_hz and known.shape == audio.shape and known.device == audio.device
            if same and torch.equal(known, audio):
                return ratings
        ratings = self.rate(audio, sample_rate_hz)
        self._last = audio.clone(), sample_rate_hz, ratings
        return ratings

    def _scaled(self, chunks: Tensor, lengths: Tensor) -> Tensor:
        """Ratings ``(chunks, 4)`` of chunks ``(chunks, samples)``."""
        self.network.to(chunks.device)
        lengths = lengths.to(chunks.device)
        with torch.autocast(chunks.device.type, torch.bfloat16, enabled=self.precision == "bf16"):
            size = AT_ONCE.get(chunks.device.type, 8)
            parts = zip(chunks.split(size), lengths.split(size), strict=True)
            raw = torch.cat([self.network(*part) for part in parts]).float()
        mean, deviation = self.scales.to(raw.device)
        return raw * deviation + mean


def check_audio(audio: Tensor) -> None:
    """Check the shape of audio.

    Raises:
        PrismAudioError: It is not ``(batch, channels, samples)``, or empty.
    """
    if audio.ndim != 3 or audio.numel() == 0:
        raise PrismAudioError(f"the audio has shape {tuple(audio.shape)}; expected (batch, 2, samples)")


def split(mono: Tensor) -> tuple[Tensor, Tensor]:
    """Chunks of 10 s ``(batch, chunks, samples)``, the last one padded, and the samples of each before padding.

    Example:
        >>> split(torch.ones(2, 200_000))[1]
        tensor([160000,  40000])
    """
    n_chunks = math.ceil(mono.shape[-1] / CHUNK)
    padded = torch.nn.functional.pad(mono, (0, n_chunks * CHUNK - mono.shape[-1]))
    lengths = [min(CHUNK, mono.shape[-1] - i * CHUNK) for i in range(n_chunks)]
    return padded.unflatten(-1, (n_chunks, CHUNK)), torch.tensor(lengths)


@functools.lru_cache(maxsize=4)
def shared_rater(implementation: Implementation, weights: str | None, precision: str) -> Rater:
    """The rater that metrics of several axes share, so that its network is in memory once; see :func:`make_rater`."""
    return make_rater(implementation, weights, None, precision)


def make_rater(
    implementation: Implementation, weights: str | None, network: AudioboxNetwork | None, precision: str
) -> Rater:
    """A rater of the implementation that an option names.

    Raises:
        PrismAudioError: The implementation of the authors is given a network of this one.
        BrokenPluginError: The package of the authors cannot be imported.
        CheckpointError: The weights cannot be found, or are those of another network.
    """
    if implementation == "native":
        return Rater(weights, network, precision)
    if network is not None:
        raise PrismAudioError("implementation official makes its own network; give weights, or leave network out")
    from prismaudio_audiobox.official import OfficialRater

    return OfficialRater(weights, precision)
