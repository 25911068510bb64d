"""Distances between generated and reference audio by YAMNet."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from torch import Tensor, nn

from prismaudio.errors import UnknownNameError
from prismaudio.metrics.base import MeanOfClips
from prismaudio.metrics.networks import (
    AudioFrechetDistance,
    AudioInceptionScore,
    AudioKernelDistance,
    AudioKL,
    NetworkMetric,
)
from prismaudio_yamnet.labels import check_labels, class_map_next_to, read_labels
from prismaudio_yamnet.network import WIDTH, Yamnet
from prismaudio_yamnet.weights import load_yamnet

if TYPE_CHECKING:
    from prismaudio.metrics.target import Target

VOICE = ("Speech", "Child speech, kid speaking", "Conversation", "Narration, monologue", "Singing", "Choir", "Rapping")
"""Classes of speech and singing."""


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


class YamnetProbability(MeanOfClips):
    """Highest probability by YAMNet that classes of AudioSet are heard, over segments of 0.96 s; the mean over clips.

    It tells what is heard, so it is neither better higher nor lower: ``prismaudio suite build --heard
    'YamnetProbability>=0.5'`` leaves out clips with speech or singing.

    Args:
        classes: Names of the classes, of which the most probable counts.
        weights: ``YamNet_w8a8.onnx.zip``, or this network as ``.safetensors``; None for the default locations.
        network: A network to use instead of published weights.
    """

    dimension, range = "semantic", (0.0, 1.0)
    higher_is_better = None  # type: ignore[assignment]

    def __init__(
        self, classes: Sequence[str] = VOICE, weights: str | None = None, network: Yamnet | None = None
    ) -> None:
        super().__init__()
        self.yamnet = (network or load_yamnet(weights),)
        labels = read_labels(class_map_next_to(weights))
        check_labels({"classes": classes}, labels)
        self.indices = [labels.index(name) for name in classes]
        if not self.indices:
            raise UnknownNameError("classes is empty; expected names of classes of AudioSet, such as Speech")

    @property
    def networks(self) -> Sequence[nn.Module]:
        """YAMNet."""
        return self.yamnet

    def observe(self, audio: Tensor, sample_rate_hz: int, target: Target) -> None:
        """Add the probability of one clip."""
        logits = classify_audio(self.yamnet[0], audio, sample_rate_hz)[0]
        self.add(logits[:, self.indices].amax().sigmoid())


def classify_audio(network: Yamnet, audio: Tensor, sample_rate_hz: int) -> tuple[Tensor, Tensor]:
    """Logits ``(segments, 521)`` and embeddings ``(segments, 1024)`` of audio ``(2, samples)`` without its mean.

    Source:
        av-benchmark at 050a5cdb, which removes the mean for all such metrics.
    """
    logits, embeddings = network.classify(audio[None] - audio.mean(), sample_rate_hz)
    return logits[0], embeddings[0]
