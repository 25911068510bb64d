"""The metrics of av-benchmark: distances and scores by PANNs, PaSST, VGGish and ImageBind."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor, nn

from prismaudio.downloads import cache_home
from prismaudio.errors import NotApplicableError
from prismaudio.metrics.networks import (
    AudioCosine,
    AudioFrechetDistance,
    AudioInceptionScore,
    AudioKernelDistance,
    AudioKL,
    NetworkMetric,
)
from prismaudio.plan import Plan
from prismaudio.rewards.base import Cache, Reward
from prismaudio.rewards.preparing import prepare
from prismaudio.types import Need
from prismaudio.weight_files import fingerprint
from prismaudio_av_benchmark.embedder import AudioEmbedder
from prismaudio_av_benchmark.imagebind import ImageBind, load_imagebind, sparse_frames
from prismaudio_av_benchmark.panns import Panns, load_panns
from prismaudio_av_benchmark.passt import Passt, load_passt
from prismaudio_av_benchmark.vggish import Vggish, load_vggish

if TYPE_CHECKING:
    from pathlib import Path

    from prismaudio.metrics.target import Target
    from prismaudio.types import Clip


class EmbedderMetric(NetworkMetric):
    """A metric of a feature of an embedder.

    Attributes:
        feature: Name of the feature.
        embedder: The network, in a tuple so that its weights are not part of the state of the metric.
    """

    feature: ClassVar[str]
    embedder: tuple[AudioEmbedder]

    @property
    def networks(self) -> Sequence[nn.Module]:
        """The network."""
        return self.embedder

    def features(self, audio: Tensor, sample_rate_hz: int) -> Tensor:
        """Features ``(rows, dim)`` of audio ``(2, samples)``."""
        return self.embedder[0].to(self.device).embed(audio, sample_rate_hz)[self.feature]


class PannsFrechetDistance(EmbedderMetric, AudioFrechetDistance):  # type: ignore[misc]
    """Fréchet distance (FD) between PANNs embeddings of generated and reference clips, ``FD-PANN`` of av-benchmark.

    Args:
        weights: ``Cnn14_16k_mAP=0.438.pth``, or a folder that has it; None for the default location.
        network: A network to use instead of published weights.
    """

    feature = "2048"

    def __init__(self, weights: str | None = None, network: Panns | None = None) -> None:
        network = network or load_panns(weights)
        super().__init__(network.dim)
        self.embedder = (network.eval(),)


class PannsKernelDistance(EmbedderMetric, AudioKernelDistance):  # type: ignore[misc]
    """Kernel audio distance (KAD) between PANNs embeddings of generated and reference clips.

    Args:
        weights: ``Cnn14_16k_mAP=0.438.pth``, or a folder that has it; None for the default location.
        network: A network to use instead of published weights.
    """

    feature = "2048"

    def __init__(self, weights: str | None = None, network: Panns | None = None) -> None:
        super().__init__()
        self.embedder = ((network or load_panns(weights)).eval(),)


class PannsKlDivergence(EmbedderMetric, AudioKL):  # type: ignore[misc]
    """Mean KL divergence between PANNs classes of reference and generated clips, ``KL-PANNS-softmax`` of av-benchmark.

    Args:
        weights: ``Cnn14_16k_mAP=0.438.pth``, or a folder that has it; None for the default location.
        network: A network to use instead of published weights.
    """

    feature = "logits"

    def __init__(self, weights: str | None = None, network: Panns | None = None) -> None:
        super().__init__()
        self.embedder = ((network or load_panns(weights)).eval(),)


class PannsInceptionScore(EmbedderMetric, AudioInceptionScore):  # type: ignore[misc]
    """Inception score (IS) of the PANNs classes of generated clips, ``ISC-PANNS-mean`` of av-benchmark.

    Args:
        weights: ``Cnn14_16k_mAP=0.438.pth``, or a folder that has it; None for the default location.
        network: A network to use instead of published weights.
    """

    feature = "logits"

    def __init__(self, weights: str | None = None, network: Panns | None = None) -> None:
        super().__init__()
        self.embedder = ((network or load_panns(weights)).eval(),)


class PasstFrechetDistance(EmbedderMetric, AudioFrechetDistance):  # type: ignore[misc]
    """Fréchet distance (FD) between PaSST embeddings of the first 10 s of clips, ``FD-PASST`` of av-benchmark.

    Args:
        weights: ``passt-s-f128-p16-s10-ap.476-swa.pt``, or a folder that has it; None for the default location.
        network: A network to use instead of published weights.
    """

    feature = "768"

    def __init__(self, weights: str | None = None, network: Passt | None = None) -> None:
        network = network or load_passt(weights)
        super().__init__(network.dim)
        self.embedder = (network.eval(),)


class PasstKernelDistance(EmbedderMetric, AudioKernelDistance):  # type: ignore[misc]
    """Kernel audio distance (KAD) between PaSST embeddings of the first 10 s of generated and reference clips.

    Args:
        weights: ``passt-s-f128-p16-s10-ap.476-swa.pt``, or a folder that has it; None for the default location.
        network: A network to use instead of published weights.
    """

    feature = "768"

    def __init__(self, weights: str | None = None, network: Passt | None = None) -> None:
        super().__init__()
        self.embedder = ((network or load_passt(weights)).eval(),)


class PasstKlDivergence(EmbedderMetric, AudioKL):  # type: ignore[misc]
    """Mean KL divergence between PaSST classes of the first 10 s of clips, ``KL-PASST-softmax`` of av-benchmark.

    Args:
        weights: ``passt-s-f128-p16-s10-ap.476-swa.pt``, or a folder that has it; None for the default location.
        network: A network to use instead of published weights.
    """

    feature = "logits"

    def __init__(self, weights: str | None = None, network: Passt | None = None) -> None:
        super().__init__()
        self.embedder = ((network or load_passt(weights)).eval(),)


class PasstInceptionScore(EmbedderMetric, AudioInceptionScore):  # type: ignore[misc]
    """Inception score (IS) of the PaSST classes of the first 10 s of clips, ``ISC-PASST-mean`` of av-benchmark.

    Args:
        weights: ``passt-s-f128-p16-s10-ap.476-swa.pt``, or a folder that has it; None for the default location.
        network: A network to use instead of published weights.
    """

    feature = "logits"

    def __init__(self, weights: str | None = None, network: Passt | None = None) -> None:
        super().__init__()
        self.embedder = ((network or load_passt(weights)).eval(),)


class VggishFrechetDistance(EmbedderMetric, AudioFrechetDistance):  # type: ignore[misc]
    """Fréchet distance between VGGish embeddings of segments of 0.96 s, ``FD-VGG`` of av-benchmark, also called FAD.

    Args:
        weights: ``vggish-10086976.pth``, or a folder that has it; None for the default location.
        network: A network to use instead of published weights.
    """

    feature = "128"

    def __init__(self, weights: str | None = None, network: Vggish | None = None) -> None:
        network = network or load_vggish(weights)
        super().__init__(network.dim)
        self.embedder = (network.eval(),)


class VggishKernelDistance(EmbedderMetric, AudioKernelDistance):  # type: ignore[misc]
    """Kernel audio distance (KAD) between VGGish embeddings of segments of 0.96 s of generated and reference audio.

    Args:
        weights: ``vggish-10086976.pth``, or a folder that has it; None for the default location.
        network: A network to use instead of published weights.
    """

    feature = "128"

    def __init__(self, weights: str | None = None, network: Vggish | None = None) -> None:
        super().__init__()
        self.embedder = ((network or load_vggish(weights)).eval(),)


class ImageBindScore(EmbedderMetric, AudioCosine):  # type: ignore[misc]
    """Mean cosine similarity of frames and audio by ImageBind, ``IB-Score`` of av-benchmark; not multiplied by 100.

    Audio is compared with one frame for every 2 s; it does not tell whether they are in time.

    Args:
        weights: ``imagebind_huge.pth``, or a folder that has it; None for the default location.
        keep: Store the embeddings of frames in the cache of PrismAudio; they take nearly all of the time.
        network: A network to use instead of published weights.
    """

    dimension: ClassVar[str | None] = "semantic"
    needs: frozenset[Need] = frozenset({"video"})
    feature = "audio"

    def __init__(
        self,
        weights: str | None = None,
        keep: bool = True,  # noqa: FBT001, FBT002  (a recipe's key)
        network: ImageBind | None = None,
    ) -> None:
        super().__init__()
        network = (network or load_imagebind(weights)).eval()
        self.embedder = (network,)
        self.reward = ImageBindReward(network)
        self._folder = cache_home() / "prepared" if keep else None

    def keep_prepared(self, folder: Path | None) -> None:
        """Store embeddings of frames in a folder; None to store nothing."""
        self._folder = folder

    def target(self, target: Target) -> Tensor | None:
        """The embedding ``(1, 1024)`` of the frames."""
        if target.clip is None:
            raise NotApplicableError("it needs frames, but there are none")
        return prepare(self.reward, target.clip, Plan({}), self._folder)["frames"]


class ImageBindReward(Reward):
    """Cosine similarity of frames and audio by ImageBind; it prepares and keeps the embeddings of frames.

    Args:
        network: The network.
    """

    dimension: ClassVar[str | None] = "semantic"
    range = (-1.0, 1.0)
    needs: frozenset[Need] = frozenset({"video"})

    def __init__(self, network: ImageBind) -> None:
        self.network = network

    @property
    def identity(self) -> str:
        """What the embeddings depend on."""
        return f"{type(self).__qualname__} {fingerprint(self.network.vision)}"

    @property
    def networks(self) -> Sequence[nn.Module]:
        """The network."""
        return (self.network,)

    def prepare(self, clip: Clip, plan: Plan) -> Cache:
        """``frames``: the embedding ``(1, 1024)``."""
        return {"frames": self.network.embed_frames(sparse_frames(clip))}

    def score(self, audio: Tensor, sample_rate_hz: int, caches: Sequence[Cache]) -> Tensor:
        """Scores ``(batch,)`` from -1 to 1."""
        found = torch.cat([self.network.to(audio.device).embed(row, sample_rate_hz)["audio"] for row in audio])
        return torch.cosine_similarity(found, torch.cat([cache["frames"] for cache in caches])).to(audio.device)
