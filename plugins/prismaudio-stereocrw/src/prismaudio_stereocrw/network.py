"""The network of StereoCRW: what one channel of a short sound is like, so that it can be found in the other."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from prismaudio.checkpoints import WithoutDrawing
from prismaudio.downloads import PublishedFile
from prismaudio.weight_files import fill, read_weights

RATE_HZ = 16_000
"""Sample rate that the network hears."""
N_FFT = 256
N_FRAMES = 128
"""Frames of a spectrogram, whatever the length of the sound; and its frequencies."""
AT_ONCE = {"cpu": 32, "cuda": 512}
"""Patches that are embedded at a time: 32 of 6 s are 12 MB of sound, and 0.1 GB in the network."""

PUBLISHED = PublishedFile(
    name="FreeMusic-StereoCRW-1024.pth.tar",
    size_mb=60,
    licence="not stated with the weights: ask the authors",
    page="https://github.com/IFICL/stereocrw (scripts/download_models.sh)",
)


class Block(nn.Module):
    """Two 3 × 3 convolutions beside a short cut."""

    def __init__(self, width_in: int, width: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(width_in, width, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.downsample: nn.Module = nn.Identity()
        if stride > 1 or width_in != width:
            self.downsample = nn.Sequential(nn.Conv2d(width_in, width, 1, stride, bias=False), nn.BatchNorm2d(width))

    def forward(self, x: Tensor) -> Tensor:
        """Maps ``(batch, width_in, height, width)`` to ``(batch, width, …)``."""
        inner = F.relu(self.bn1(self.conv1(x)))
        return F.relu(self.bn2(self.conv2(inner)) + self.downsample(x))


class ResNet(nn.Module):
    """Residual network of four blocks on complex spectrograms, with the names of torchvision's."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(2, width, 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        widths = (width, width, 2 * width, 4 * width, 8 * width)
        for number in range(1, 5):
            block = Block(widths[number - 1], widths[number], 1 if number == 1 else 2)
            self.add_module(f"layer{number}", nn.Sequential(block))
        self.fc = nn.Linear(8 * width, 128)

    def forward(self, x: Tensor) -> Tensor:
        """Embeddings ``(batch, 128)`` of ``(batch, 2, time, frequency)``."""
        x = F.max_pool2d(F.relu(self.bn1(self.conv1(x))), 3, 2, 1)
        for number in range(1, 5):
            x = self.get_submodule(f"layer{number}")(x)
        return self.fc(x.mean((2, 3)))


class Spectrum(nn.Module):
    """Complex spectrogram of 128 frames, or about as many, and 128 frequencies."""

    window: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("window", torch.hann_window(N_FFT))

    def forward(self, patches: Tensor) -> Tensor:
        """Real and imaginary part ``(batch, 2, time, 128)`` of audio ``(batch, samples)`` at 16 kHz."""
        n_samples = patches.shape[-1]
        hop = 160 if n_samples in (int(0.96 * RATE_HZ), int(2.55 * RATE_HZ)) else n_samples // N_FRAMES
        spectra = torch.stft(patches, N_FFT, hop, window=self.window, return_complex=True)
        return torch.view_as_real(spectra[:, :-1, :-1]).permute(0, 3, 2, 1)


class CrwNetwork(nn.Module):
    """StereoCRW: embeddings of one channel, near to those of the other channel at the moment of the same sound.

    Args:
        width: Channels of the first block; each further one has twice as many.

    Source:
        Chen, Fouhey and Owens, "Sound Localization by Self-Supervised Time Delay Estimation" (ECCV 2022): the network
        ``resnet9`` of https://github.com/IFICL/stereocrw, with the names of its checkpoint.

    Example:
        >>> CrwNetwork(width=2).eval()(torch.zeros(3, 1024)).shape
        torch.Size([3, 128])
    """

    def __init__(self, width: int = 64) -> None:
        super().__init__()
        self.trans = Spectrum()
        self.net = ResNet(width)

    def forward(self, patches: Tensor) -> Tensor:
        """Embeddings ``(batch, 128)`` of sound of one channel ``(batch, samples)`` at 16 kHz."""
        return self.net(self.trans(patches))

    def embed(self, sound: Tensor, patch_samples: int, n_patches: int, step: int = 1) -> Tensor:
        """Embeddings ``(batch, n_patches, 128)`` of patches of audio ``(batch, samples)``, each ``step`` further on."""
        patches = sound.unfold(-1, patch_samples, step)[:, :n_patches]
        at_once = AT_ONCE.get(sound.device.type, 128)
        rows = [torch.cat([self(chunk) for chunk in row.split(at_once)]) for row in patches]
        return torch.stack(rows)


def load_network(weights: str | None = None) -> CrwNetwork:
    """The published network, in eval mode: batch normalisation uses the statistics of its training.

    Args:
        weights: The published ``.pth.tar``, or its tensors as ``.safetensors``; None to look where they are kept.

    Raises:
        CheckpointError: They cannot be had, or are those of another network.
    """
    path = PUBLISHED.find(weights)
    with WithoutDrawing():
        network = CrwNetwork()
    tensors = {key.removeprefix("module."): value for key, value in read_weights(path).items()}
    fill(network, tensors, path)
    return network
