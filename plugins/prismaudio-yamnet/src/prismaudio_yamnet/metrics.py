"""Distances between generated and reference audio by YAMNet."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from prismaudio.metrics.networks import (
    AudioFrechetDistance,
    AudioInceptionScore,
    AudioKernelDistance,
    AudioKL,
    NetworkMetric,
)
from prismaudio_yamnet.network import WIDTH, Yamnet
from prismaudio_yamnet.weights import load_yamnet


class YamnetMetric(NetworkMetric):
    """A metric based on YAMNet."""

    yamnet: tuple[Yamnet]
    """The network, in a tuple so that its weights are not part of the metric's state."""

    @property
    def networks(self) -> Sequence[nn.Module]:
        """YAMNet."""
        return self.yamnet


class EmbeddingMetric(YamnetMetric):
    """A metric of the embeddings of segments."""

    def features(self, audio: Tensor, sample_rate_hz: int) -> Tensor:
        """Embeddings ``(segments, 1024)`` of audio ``(2, samples)``."""
        return classify_audio(self.yamnet[0], audio, sample_rate_hz)[1]


class LogitMetric(YamnetMetric):
    """A metric of the classes of clips."""

    def features(self, audio: Tensor, sample_rate_hz: int) -> Tensor:
        """Mean logits ``(1, 521)`` of audio ``(2, samples)``."""
        return classify_audio(self.yamnet[0], audio, sample_rate_hz)[0].mean(0, keepdim=True)


class YamnetFrechetDistance(EmbeddingMetric, AudioFrechetDistance):  # type: ignore[misc]
    """Fréchet distance (FD) between YAMNet embeddings of segments of 0.96 s of generated and reference audio.

    Args:
        weights: ``YamNet_w8a8.onnx.zip``, or this network as ``.safetensors``; None for the default locations.
        network: A network to use instead of published weights.
    """

    def __init__(self, weights: str | None = None, network: Yamnet | None = None) -> None:
        super().__init__(WIDTH)
        self.yamnet = (network or load_yamnet(weights),)


class YamnetKernelDistance(EmbeddingMetric, AudioKernelDistance):  # type: ignore[misc]
    """Kernel audio distance (KAD) between YAMNet embeddings of segments of 0.96 s of generated and reference audio.

    Args:
        weights: ``YamNet_w8a8.onnx.zip``, or this network as ``.safetensors``; None for the default locations.
        network: A network to use instead of published weights.
    """

    def __init__(self, weights: str | None = None, network: Yamnet | None = None) -> None:
        super().__init__()
        self.yamnet = (network or load_yamnet(weights),)


class YamnetKlDivergence(LogitMetric, AudioKL):  # type: ignore[misc]
    """Mean KL divergence between the YAMNet classes of reference and generated audio.

    Args:
        weights: ``YamNet_w8a8.onnx.zip``, or this network as ``.safetensors``; None for the default locations.
        network: A network to use instead of published weights.
    """

    def __init__(self, weights: str | None = None, network: Yamnet | None = None) -> None:
        super().__init__()
        self.yamnet = (network or load_yamnet(weights),)


class YamnetInceptionScore(LogitMetric, AudioInceptionScore):  # type: ignore[misc]
    """Inception score (IS) of the YAMNet classes.

    Args:
        weights: ``YamNet_w8a8.onnx.zip``, or this network as ``.safetensors``; None for the default locations.
        network: A network to use instead of published weights.
    """

    def __init__(self, weights: str | None = None, network: Yamnet | None = None) -> None:
        super().__init__()
        self.yamnet = (network or load_yamnet(weights),)


def classify_audio(network: Yamnet, audio: Tensor, sample_rate_hz: int) -> tuple[Tensor, Tensor]:
    """Logits ``(segments, 521)`` and embeddings ``(segments, 1024)`` of audio ``(2, samples)`` without its mean.

    Source:
        av-benchmark at 050a5cdb, which removes the mean for all such metrics.
    """
    logits, embeddings = network.classify(audio[None] - audio.mean(), sample_rate_hz)
    return logits[0], embeddings[0]
