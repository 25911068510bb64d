"""YAMNet: a MobileNet that classifies segments of 0.96 s into 521 classes."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from prismaudio.audio.resample import resample
from prismaudio.audio.spectral import published_mel_filters
from prismaudio.checkpoints import SkipInitialization

if TYPE_CHECKING:
    from collections.abc import Iterator

RATE_HZ = 16_000
WINDOW, HOP, N_FFT, N_MELS = 400, 160, 512, 64
N_FRAMES = 96
PATCH = WINDOW + (N_FRAMES - 1) * HOP
"""Samples per input segment."""
PATCH_HOP = 48 * HOP
OFFSET = 1e-3
N_CLASSES, WIDTH = 521, 1024
BLOCKS = (
    # channels, stride
    *((64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2)),
    *((512, 1), (512, 1), (512, 1), (512, 1), (512, 1), (1024, 2), (1024, 1)),
)
CHUNK_ROWS = 256
"""Segments per forward pass."""


class Yamnet(nn.Module):
    """The network, with batch normalization folded into the convolutions.

    Source:
        YAMNet of tensorflow/models (Apache-2.0), research/audioset/yamnet.
    """

    bands: Tensor
    window: Tensor

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = list(_convolution(1, 32, 3, 2))
        channels = 32
        for wider, stride in BLOCKS:
            layers += [*_convolution(channels, channels, 3, stride, channels), *_convolution(channels, wider, 1, 1)]
            channels = wider
        self.layers = nn.Sequential(*layers)
        self.classifier = nn.Linear(WIDTH, N_CLASSES)
        bands = published_mel_filters(N_MELS, N_FFT, RATE_HZ, 125, 7500).float()
        self.register_buffer("bands", bands, persistent=False)
        self.register_buffer("window", torch.hann_window(WINDOW), persistent=False)

    def patches(self, audio: Tensor, sample_rate_hz: int) -> Tensor:
        """Log-mel segments ``(batch, segments, 96, 64)`` of the channel mean, every 0.48 s, the last one at the end.

        Args:
            audio: Audio ``(batch, channels, samples)``; audio shorter than a segment is padded with silence.
            sample_rate_hz: Its sample rate.
        """
        mono = resample(audio.float().mean(1), sample_rate_hz, RATE_HZ)
        mono = nn.functional.pad(mono, (0, max(0, PATCH - mono.shape[-1])))
        last = mono.shape[-1] - PATCH
        n = math.ceil(last / PATCH_HOP)
        starts = torch.tensor([*range(0, n * PATCH_HOP, PATCH_HOP), last], device=mono.device)
        windows = mono.unfold(-1, PATCH, 1)[:, starts]
        frames = windows.unfold(-1, WINDOW, HOP) * self.window
        return ((torch.fft.rfft(frames, N_FFT).abs() @ self.bands.T) + OFFSET).log()

    def forward(self, patches: Tensor) -> tuple[Tensor, Tensor]:
        """Logits ``(n, 521)`` and embeddings ``(n, 1024)`` of log-mel segments ``(n, 96, 64)``."""
        found = [self.layers(part[:, None]).mean((2, 3)) for part in patches.split(CHUNK_ROWS)]
        embeddings = torch.cat(found)
        return self.classifier(embeddings), embeddings

    def classify(self, audio: Tensor, sample_rate_hz: int) -> tuple[Tensor, Tensor]:
        """Logits ``(batch, segments, 521)`` and embeddings ``(batch, segments, 1024)`` of audio.

        Args:
            audio: Audio ``(batch, channels, samples)``; the network moves to its device.
            sample_rate_hz: Its sample rate.
        """
        if self.window.device != audio.device:
            self.to(audio.device)
        with torch.no_grad():
            patches = self.patches(audio, sample_rate_hz)
            logits, embeddings = self(patches.flatten(0, 1))
        return logits.unflatten(0, patches.shape[:2]), embeddings.unflatten(0, patches.shape[:2])


def _convolution(before: int, after: int, size: int, stride: int, groups: int = 1) -> Iterator[nn.Module]:
    """A convolution and its ReLU, padded as in TensorFlow: only at the end with stride 2."""
    if size > 1:
        first = (size - stride) // 2
        yield nn.ZeroPad2d((first, size - stride - first, first, size - stride - first))
    yield nn.Conv2d(before, after, size, stride, groups=groups)
    yield nn.ReLU()


def empty_network() -> Yamnet:
    """A network with uninitialized weights."""
    with SkipInitialization():
        return Yamnet()
