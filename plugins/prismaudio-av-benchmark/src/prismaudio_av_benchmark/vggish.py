"""VGGish: a convolutional network that embeds segments of 0.96 s."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from typing import cast

import torch
from torch import Tensor, nn

from prismaudio.downloads import PublishedFile
from prismaudio_av_benchmark.embedder import AudioEmbedder, load
from prismaudio_av_benchmark.front_ends import HOP, N_FFT, WINDOW, at_least, mono_at, triangles_in_mel

FILE = PublishedFile(
    "vggish-10086976.pth",
    size_mb=290,
    licence="see the page; of the code Apache-2.0",
    page="https://github.com/harritaylor/torchvggish/releases/tag/v0.1",
)
RATE_HZ, N_MELS, N_FRAMES = 16_000, 64, 96
LOW_HZ, HIGH_HZ, OFFSET = 125, 7500, 0.01
SHORTEST = WINDOW + (N_FRAMES - 1) * HOP
"""Samples of a segment; shorter audio is padded with silence."""
CHANNELS, HIDDEN, DIM = (64, 128, 256, 512), 4096, 128


class Vggish(AudioEmbedder):
    """VGGish: an embedding of each segment of 0.96 s, without PCA.

    Args:
        channels: Channels of the four groups of convolutions.
        hidden: Width of the two hidden layers.
        dim: Dimension of the embeddings.

    Source:
        torchvggish 0.2 (Apache-2.0), a port of the network of tensorflow/models, research/audioset/vggish; Hershey et
        al., "CNN Architectures for Large-Scale Audio Classification", arXiv 1609.09430. As in av-benchmark, the last
        layer has no ReLU, unlike in torchvggish, and what is left after the last whole segment is not used.
    """

    def __init__(self, channels: Sequence[int] = CHANNELS, hidden: int = HIDDEN, dim: int = DIM) -> None:
        super().__init__()
        self.dim = dim
        self.features = nn.Sequential(*_layers(channels))
        flat = channels[-1] * (N_FRAMES // 16) * (N_MELS // 16)
        self.embeddings = nn.Sequential(
            nn.Linear(flat, hidden), nn.ReLU(), nn.Linear(hidden, hidden), nn.ReLU(), nn.Linear(hidden, dim)
        )

    def segments(self, mono: Tensor) -> Tensor:
        """Log-mel segments ``(segments, 96, 64)`` of audio ``(samples,)`` at 16 kHz."""
        frames = mono.unfold(-1, WINDOW, HOP) * torch.hann_window(WINDOW, device=mono.device)
        magnitudes = torch.fft.rfft(frames, N_FFT).abs()
        bands = triangles_in_mel(N_MELS, N_FFT, RATE_HZ, LOW_HZ, HIGH_HZ).to(magnitudes)
        levels = (magnitudes @ bands.T + OFFSET).log()
        return levels[: len(levels) // N_FRAMES * N_FRAMES].unflatten(0, (-1, N_FRAMES))

    def forward(self, segments: Tensor) -> Tensor:
        """Embeddings ``(segments, 128)`` of log-mel segments ``(segments, 96, 64)``."""
        maps = self.features(segments[:, None])
        embeddings: Tensor = self.embeddings(maps.permute(0, 2, 3, 1).flatten(1))  # channels last, as in TensorFlow
        return embeddings

    def compute(self, audio: Tensor, sample_rate_hz: int, length_s: float | None = None) -> dict[str, Tensor]:
        """``128``: the embeddings ``(segments, 128)``."""
        mono = at_least(mono_at(audio, sample_rate_hz, RATE_HZ, length_s), SHORTEST)
        return {"128": self(self.segments(mono))}


def _layers(channels: Sequence[int]) -> Iterator[nn.Module]:
    """Groups of one convolution, one, two and two, each with max pooling."""
    before = 1
    for after, count in zip(channels, (1, 1, 2, 2), strict=True):
        for _ in range(count):
            yield nn.Conv2d(before, after, 3, padding=1)
            yield nn.ReLU()
            before = after
        yield nn.MaxPool2d(2)


def our_names(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Published weights by the names of :class:`Vggish`, which are the same; those of the PCA are left out."""
    return {name: value for name, value in weights.items() if not name.startswith("pproc.")}


@lru_cache(maxsize=2)
def load_vggish(given: str | None = None) -> Vggish:
    """The network with its weights, once for each file.

    Args:
        given: ``vggish-10086976.pth``, or a folder that has it; None for the default location.

    Raises:
        CheckpointError: They cannot be found, or are those of another network.
    """
    return cast("Vggish", load(FILE.find(given), Vggish, our_names))
