"""Distances of generated sounds from true ones, by what YAMNet hears in them."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from prismaudio.metrics.networks import AudioFrechetDistance, AudioInceptionScore, AudioKL, NetworkMetric
from prismaudio_yamnet.network import WIDTH, Yamnet
from prismaudio_yamnet.weights import load_yamnet


class YamnetMetric(NetworkMetric):
    """A metric by what YAMNet hears."""

    yamnet: tuple[Yamnet]
    """The network, in a tuple, so that its weights are no part of the metric's state."""

    @property
    def networks(self) -> Sequence[nn.Module]:
        """YAMNet."""
        return self.yamnet


class YamnetFrechetDistance(YamnetMetric, AudioFrechetDistance):
    """Fréchet distance (FD) of YAMNet's embeddings of 0.96 s of sound from those of the references.

    Args:
        weights: ``YamNet_w8a8.onnx.zip``, or this network as ``.safetensors``; None to look where it is known to be.
        network: A network in place of published weights.
    """

    def __init__(self, weights: str | None = None, network: Yamnet | None = None) -> None:
        super().__init__(WIDTH)
        self.yamnet = (network or load_yamnet(weights),)

    def features(self, sound: Tensor, sample_rate_hz: int) -> Tensor:
        """Embeddings ``(windows, 1024)`` of audio ``(2, samples)``."""
        return hear(self.yamnet[0], sound, sample_rate_hz)[1]


class YamnetKlDivergence(YamnetMetric, AudioKL):
    """Mean divergence (KL) of the classes that YAMNet hears in sounds from those in their references.

    Args:
        weights: ``YamNet_w8a8.onnx.zip``, or this network as ``.safetensors``; None to look where it is known to be.
        network: A network in place of published weights.
    """

    def __init__(self, weights: str | None = None, network: Yamnet | None = None) -> None:
        super().__init__()
        self.yamnet = (network or load_yamnet(weights),)

    def features(self, sound: Tensor, sample_rate_hz: int) -> Tensor:
        """Mean logits ``(1, 521)`` of audio ``(2, samples)``."""
        return hear(self.yamnet[0], sound, sample_rate_hz)[0].mean(0, keepdim=True)


class YamnetInceptionScore(YamnetMetric, AudioInceptionScore):
    """Inception score (IS) by the classes that YAMNet hears.

    Args:
        weights: ``YamNet_w8a8.onnx.zip``, or this network as ``.safetensors``; None to look where it is known to be.
        network: A network in place of published weights.
    """

    def __init__(self, weights: str | None = None, network: Yamnet | None = None) -> None:
        super().__init__()
        self.yamnet = (network or load_yamnet(weights),)

    def features(self, sound: Tensor, sample_rate_hz: int) -> Tensor:
        """Mean logits ``(1, 521)`` of audio ``(2, samples)``."""
        return hear(self.yamnet[0], sound, sample_rate_hz)[0].mean(0, keepdim=True)


def hear(network: Yamnet, sound: Tensor, sample_rate_hz: int) -> tuple[Tensor, Tensor]:
    """Logits ``(windows, 521)`` and embeddings ``(windows, 1024)`` of audio ``(2, samples)`` without its DC.

    Source:
        av-benchmark at 050a5cdb, which takes the DC off for all such metrics.
    """
    logits, embeddings = network.hear(sound[None] - sound.mean(), sample_rate_hz)
    return logits[0], embeddings[0]
