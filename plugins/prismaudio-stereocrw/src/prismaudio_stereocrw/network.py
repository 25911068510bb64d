"""The network of StereoCRW: embeddings of short patches of one channel, to be matched with those of the other."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from prismaudio.checkpoints import SkipInitialization
from prismaudio.downloads import PublishedFile
from prismaudio.weight_files import fill, read_weights

RATE_HZ = 16_000
"""Sample rate of the network."""
N_FFT = 256
N_FRAMES = 128
"""Frames of a spectrogram, for any length of the patch, and its number of frequencies."""
AT_ONCE = {"cpu": 32, "cuda": 512}
"""Patches per forward pass: 32 of 6 s are 12 MB of audio, and 0.1 GB in the network."""

PUBLISHED = PublishedFile(
    name="FreeMusic-StereoCRW-1024.pth.tar",
    size_mb=60,
    licence="not stated with the weights: ask the authors",
    page="https://github.com/IFICL/stereocrw (scripts/download_models.sh)",
)


class Block(nn.Module):
    """Two 3 × 3 convolutions with a shortcut connection."""

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
    """Residual network of four blocks on complex spectrograms, with the parameter names of torchvision."""

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
    """Complex spectrogram of about 128 frames and 128 frequencies."""

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
    """StereoCRW: embeddings of patches that are similar for the same source signal in both channels.

    Args:
        width: Channels of the first block; each further one doubles them.

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
        """Embeddings ``(batch, 128)`` of mono audio ``(batch, samples)`` at 16 kHz."""
        return self.net(self.trans(patches))

    def embed(self, audio: Tensor, patch_samples: int, n_patches: int, step: int = 1) -> Tensor:
        """Embeddings ``(batch, n_patches, 128)`` of patches of audio ``(batch, samples)``, ``step`` samples apart."""
        patches = audio.unfold(-1, patch_samples, step)[:, :n_patches]
        at_once = AT_ONCE.get(audio.device.type, 128)
        rows = patches.split(
            max(1, at_once // patches.shape[1])
        )  # patches overlap: only those of a few rows are copied
        made = [self(chunk) for some in rows for chunk in some.flatten(0, 1).split(at_once)]
        return torch.cat(made).unflatten(0, patches.shape[:2])


def load_network(weights: str | None = None) -> CrwNetwork:
    """The published network, in eval mode, with the batch normalization statistics of its training.

    Args:
        weights: The published ``.pth.tar``, or its tensors as ``.safetensors``; None for the default locations.

    Raises:
        CheckpointError: They cannot be found, or are those of another network.
    """
    path = PUBLISHED.find(weights)
    with SkipInitialization():
        network = CrwNetwork()
    tensors = {key.removeprefix("module."): value for key, value in read_weights(path).items()}
    fill(network, tensors, path)
    return network
