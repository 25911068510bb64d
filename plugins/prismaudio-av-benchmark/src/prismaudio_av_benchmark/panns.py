"""PANNs: Cnn14 at 16 kHz, a convolutional classifier of 527 AudioSet classes."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from itertools import pairwise
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from prismaudio.audio.spectral import published_mel_filters
from prismaudio.downloads import PublishedFile
from prismaudio_av_benchmark.embedder import AudioEmbedder, load
from prismaudio_av_benchmark.front_ends import at_least, mono_at

FILE = PublishedFile(
    "Cnn14_16k_mAP=0.438.pth",
    size_mb=325,
    licence="see the page; of the code MIT",
    page="https://zenodo.org/records/3987831",
)
RATE_HZ, WINDOW, HOP, N_MELS = 16_000, 512, 160, 64
LOW_HZ, HIGH_HZ = 50, 8000
CHANNELS = (64, 128, 256, 512, 1024, 2048)
N_CLASSES = 527
SHORTEST = 32 * HOP
"""Samples of the shortest input, because five layers halve the number of frames; shorter audio is padded."""
LOWEST_POWER = 1e-10
COMPUTED = re.compile(r"spectrogram_extractor\.")
"""Tensors of the file that are not used: the Fourier transform as a convolution."""


class Panns(AudioEmbedder):
    """Cnn14 of PANNs: embeddings and logits of whole clips.

    Args:
        channels: Channels of the six blocks.
        classes: Number of classes.

    Source:
        ``Cnn14`` of qiuqiangkong/audioset_tagging_cnn (MIT), with the settings of av-benchmark; Kong et al., "PANNs",
        arXiv 1912.10211. The mel filters are those of the weight file.
    """

    bands: Tensor
    window: Tensor

    def __init__(self, channels: Sequence[int] = CHANNELS, classes: int = N_CLASSES) -> None:
        super().__init__()
        self.dim = channels[-1]
        filters = published_mel_filters(N_MELS, WINDOW, RATE_HZ, LOW_HZ, HIGH_HZ, "slaney")
        self.register_buffer("bands", filters.T.float())
        self.bn0 = nn.BatchNorm2d(N_MELS)
        self.blocks = nn.ModuleList(_Convolutions(before, after) for before, after in pairwise((1, *channels)))
        self.fc1 = nn.Linear(self.dim, self.dim)
        self.fc_audioset = nn.Linear(self.dim, classes)

    def levels(self, mono: Tensor) -> Tensor:
        """Mel levels in dB ``(batch, frames, 64)`` of audio ``(batch, samples)`` at 16 kHz."""
        taper = torch.hann_window(WINDOW, device=mono.device)
        spectrum = torch.stft(mono, WINDOW, HOP, window=taper, return_complex=True)
        power = spectrum.abs().square().transpose(1, 2) @ self.bands
        return 10 * power.clamp(min=LOWEST_POWER).log10()

    def forward(self, mono: Tensor) -> tuple[Tensor, Tensor]:
        """Embeddings ``(batch, 2048)`` and logits ``(batch, 527)`` of audio ``(batch, samples)`` at 16 kHz."""
        maps = self.bn0(self.levels(mono)[:, None].transpose(1, 3)).transpose(1, 3)
        for index, block in enumerate(self.blocks, 1):
            maps = block(maps)
            if index < len(self.blocks):
                maps = F.avg_pool2d(maps, 2)
        rows = maps.mean(3)
        embeddings = F.relu(self.fc1(rows.amax(2) + rows.mean(2)))
        return embeddings, self.fc_audioset(embeddings)

    def compute(self, audio: Tensor, sample_rate_hz: int, length_s: float | None = None) -> dict[str, Tensor]:
        """``2048``: the embedding ``(1, 2048)``; ``logits``: those of the classes ``(1, 527)``."""
        embeddings, logits = self(at_least(mono_at(audio, sample_rate_hz, RATE_HZ, length_s), SHORTEST)[None])
        return {"2048": embeddings, "logits": logits}


class _Convolutions(nn.Module):
    """Two convolutions of 3 x 3, each with batch normalization."""

    def __init__(self, before: int, after: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(before, after, 3, padding=1, bias=False)
        self.conv2 = nn.Conv2d(after, after, 3, padding=1, bias=False)
        self.bn1, self.bn2 = nn.BatchNorm2d(after), nn.BatchNorm2d(after)

    def forward(self, maps: Tensor) -> Tensor:
        """Maps ``(batch, channels, frames, bands)``."""
        return F.relu(self.bn2(self.conv2(F.relu(self.bn1(self.conv1(maps))))))


def our_names(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Published weights by the names of :class:`Panns`.

    Example:
        >>> list(our_names({"conv_block2.bn1.bias": torch.ones(1), "logmel_extractor.melW": torch.ones(1)}))
        ['blocks.1.bn1.bias', 'bands']
    """
    found = {}
    for name, value in weights.items():
        if not COMPUTED.match(name):
            ours = re.sub(r"^conv_block(\d)\.", lambda number: f"blocks.{int(number[1]) - 1}.", name)
            found["bands" if ours == "logmel_extractor.melW" else ours] = value
    return found


@lru_cache(maxsize=2)
def load_panns(given: str | None = None) -> Panns:
    """The network with its weights, once for each file.

    Args:
        given: ``Cnn14_16k_mAP=0.438.pth``, or a folder that has it; None for the default location.

    Raises:
        CheckpointError: They cannot be found, or are those of another network.
    """
    return cast("Panns", load(FILE.find(given), Panns, our_names))
