"""The published stereo autoencoder: strided convolutions with snake activations and a Gaussian bottleneck.

Shape letters: B batch, C channels, T samples or frames. The networks process audio as images of height 1 in the
channels-last memory format: on a CPU this is 1.4 to 1.7 times as fast as one-dimensional convolutions.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from prismaudio.autoencoders.base import Autoencoder
from prismaudio.checkpoints import Configured, within

DILATIONS = (1, 3, 9)
"""Dilations of the residual units of a stage."""
MIN_STD = 1e-4
TILE = 2**19
"""Elements of a tile: 2 MB, which fits in the cache of a CPU. Tiling makes both directions about 1.5 times as fast."""
MIN_TILE = 16
"""Minimum ratio of tile length to overlap, which limits redundant computation."""


class Snake(nn.Module):
    """Snake activation ``x + sin²(e^alpha x) / e^beta`` with a frequency and an amplitude per channel.

    Args:
        channels: Number of channels.

    Source:
        Ziyin et al. 2020, in the variant with two log-scale parameters from BigVGAN (Lee et al. 2023).

    Example:
        >>> Snake(2)(torch.full((1, 2, 1, 1), torch.pi / 2)).flatten().tolist()
        [2.57..., 2.57...]
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.alpha = nn.Parameter(torch.zeros(channels))
        self.beta = nn.Parameter(torch.zeros(channels))

    def forward(self, x_BC1T: Tensor) -> Tensor:
        """Apply the activation; without gradients, it allocates memory for its output only."""
        rate, size = self.alpha.exp()[:, None, None], 1 / (self.beta.exp() + 1e-9)[:, None, None]
        if torch.is_grad_enabled() or torch.compiler.is_compiling():
            return x_BC1T + size * (rate * x_BC1T).sin().square()
        wave = (x_BC1T * rate).sin_().square_().mul_(size)
        return wave.add_(x_BC1T)


class ResidualUnit(nn.Sequential):
    """Residual unit: snake, dilated convolution, snake, pointwise convolution, plus the input.

    Args:
        channels: Number of channels.
        dilation: Dilation of the first convolution.
    """

    def __init__(self, channels: int, dilation: int) -> None:
        dilated = _convolution(channels, channels, 7, dilation)
        super().__init__(Snake(channels), dilated, Snake(channels), _convolution(channels, channels, 1))

    def forward(self, x_BC1T: Tensor) -> Tensor:
        """Apply the unit."""
        return super().forward(x_BC1T) + x_BC1T


@dataclass(frozen=True, eq=False)
class Posterior:
    """The Gaussian posterior computed by the encoder.

    Args:
        mean: Means ``(batch, channels, frames)``.
        std: Standard deviations, of the same shape.
    """

    mean: Tensor
    std: Tensor

    @classmethod
    def of(cls, raw: Tensor) -> Posterior:
        """Create the posterior from the encoder output ``(batch, 2 * channels, frames)``."""
        mean, scale = raw.chunk(2, 1)
        return cls(mean, F.softplus(scale) + MIN_STD)

    def at(self, noise: Tensor) -> Tensor:
        """Return ``mean + std * noise`` for standard normal noise."""
        return self.mean + self.std * noise.to(self.mean)

    def sample(self, generator: torch.Generator) -> Tensor:
        """Sample latents ``(batch, channels, frames)``; the noise is drawn on the device of the generator."""
        return self.at(torch.randn(self.mean.shape, generator=generator, device=generator.device))

    def kl(self) -> Tensor:
        """Return twice the KL divergence from a standard normal, summed over channels, averaged over batch and frames.

        Source:
            ``PrismAudio/models/bottleneck.py`` at 86eed40, which omits the factor one half.
        """
        variance = self.std.square()
        return (self.mean.square() + variance - variance.log() - 1).sum(1).mean()


@dataclass(frozen=True, eq=False)
class SubNetwork:
    """A section of the encoder or decoder that contains at most one stage.

    Args:
        network: The layers.
        taken: Input samples per frame.
        given: Output samples per frame.
        width: Channels at the higher of the two rates.
        edge: Receptive field beyond that of the stage, in samples at that rate.
    """

    network: nn.Module
    taken: int
    given: int
    width: int
    edge: int = 0


class OobleckAutoencoder(Configured, Autoencoder):
    """The autoencoder of the published model: by default, stereo audio at 44.1 kHz and latents at 21.5 Hz.

    The convolutions have no weight normalisation: it is folded into the weights when a checkpoint is imported, because
    PrismAudio never trains its autoencoder and plain weights are faster and need half as many keys. Audio of any length
    is encoded and decoded in constant memory: inputs longer than ``one_pass_frames`` are processed in chunks that
    overlap by the receptive field, so that the result equals that of one pass.

    Args:
        width: Channels at the sample rate.
        multipliers: Channels after each encoder stage, as a multiple of ``width``.
        strides: Downsampling factor of each encoder stage; their product is the hop.
        latent_channels: Number of latent channels.
        sample_rate_hz: Sample rate of the audio.
        one_pass_frames: Maximum number of latent frames, over the whole batch, that are processed in one pass.
        chunk_frames: Latent frames of a chunk of longer inputs, without overlap.

    Attributes:
        in_tiles: Whether to compute in small tiles on any device, as on a CPU.

    Source:
        ``PrismAudio/models/autoencoders.py`` at 86eed40, from its specification (the Oobleck of Stable Audio Open,
        Evans et al. 2024). diffusers' ``AutoencoderOobleck`` computes bit-identical results, but it names every weight
        differently, requires the encoder width to be twice the latent channels (true for the published sizes, not for
        smaller ones), decodes long audio in one pass, and is a dependency of 61 MB: hence this implementation.

    Example:
        >>> codec = OobleckAutoencoder(width=4, multipliers=(1, 2), strides=(2, 4), latent_channels=3)
        >>> latents = codec.encode(torch.randn(1, 2, 30))
        >>> latents.shape, codec.decode(latents).shape
        (torch.Size([1, 3, 4]), torch.Size([1, 2, 32]))
    """

    any_length = True
    half_precision = True
    in_tiles = False

    def __init__(
        self,
        width: int = 128,
        multipliers: Sequence[int] = (1, 2, 4, 8, 16),
        strides: Sequence[int] = (2, 4, 4, 8, 8),
        latent_channels: int = 64,
        sample_rate_hz: int = 44_100,
        one_pass_frames: int = 256,
        chunk_frames: int = 192,
    ) -> None:
        super().__init__()
        if len(multipliers) != len(strides) or not strides or min(strides) < 2:
            raise ValueError(f"expected a stride of at least 2 for each of {list(multipliers)}, got {list(strides)}")
        within(1, 65_536, width=width, latent_channels=latent_channels, max_channels=width * max(multipliers))
        within(1, 65_536, min_multiplier=min(multipliers), hop=math.prod(strides))
        within(1000, 384_000, sample_rate_hz=sample_rate_hz)
        within(1, 1_000_000, chunk_frames=chunk_frames, one_pass_frames=one_pass_frames)
        self.strides, self.channels, self.sample_rate_hz = tuple(strides), latent_channels, sample_rate_hz
        self.hop = math.prod(strides)
        self.one_pass_frames, self.chunk_frames = one_pass_frames, chunk_frames
        self.sizes = sizes = [width, *(width * multiplier for multiplier in multipliers)]
        self._decode: Callable[[Tensor], Tensor]
        self.encoder = _encoder(sizes, self.strides, 2 * latent_channels)
        self.decoder = _decoder(sizes, self.strides, latent_channels)
        object.__setattr__(self, "_decode", self.decoder)  # until it is compiled; not a second submodule
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch does not annotate it

    def encode(self, audio: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Encode audio ``(batch, 2, samples)`` to latents ``(batch, channels, frames)``; frames = ceil(samples / hop).

        Args:
            audio: The audio; it is zero-padded to a whole number of frames.
            generator: Samples the latents from the posterior; None returns the posterior means.
        """
        posterior = self.posterior(audio)
        return posterior.mean if generator is None else posterior.sample(generator)

    def posterior(self, audio: Tensor) -> Posterior:
        """Compute means and standard deviations of the latents of audio ``(batch, 2, samples)``."""
        whole = F.pad(audio, (0, -audio.shape[-1] % self.hop))
        halo = -(-encoder_reach(self.strides) // self.hop)
        return Posterior.of(self._process(self.encoder, self._encoder_networks, whole, self.hop, 1, halo))

    def decode(self, latents: Tensor) -> Tensor:
        """Decode latents ``(batch, channels, frames)`` to audio ``(batch, 2, frames * hop)``."""
        halo = decoder_reach(self.strides)
        audio = self._process(self._decode, self._decoder_networks, latents, 1, self.hop, halo)
        return F.pad(audio, (0, latents.shape[-1] * self.hop - audio.shape[-1]))  # odd strides shorten the output

    def compile_decoder(self) -> None:
        """Compile the decoder: once for the first length, and once for all others."""
        object.__setattr__(self, "_decode", torch.compile(self.decoder))  # its weights are those of the decoder

    @property
    def _encoder_networks(self) -> list[SubNetwork]:
        """The first convolution with the first stage, each other stage, and the final layers."""
        layers, last = self.encoder, len(self.strides)
        firsts = [0, *range(2, last + 1)]
        stages = [
            SubNetwork(layers[first : stage + 2], self.strides[stage], 1, self.sizes[stage], 3 * (stage == 0))
            for stage, first in enumerate(firsts)
        ]
        return [*stages, SubNetwork(layers[last + 1 :], 1, 1, self.sizes[-1])]

    @property
    def _decoder_networks(self) -> list[SubNetwork]:
        """The first convolution, each stage but the last, and the last stage with the final layers."""
        layers, last = self.decoder, len(self.strides)
        ends = [*range(2, last + 1), len(layers)]
        stages = [
            SubNetwork(layers[index + 1 : end], 1, self.strides[~index], self.sizes[~index - 1], 3 * (end > last + 1))
            for index, end in enumerate(ends)
        ]
        return [SubNetwork(layers[:1], 1, 1, self.sizes[-1]), *stages]

    def _process(
        self,
        whole: Callable[[Tensor], Tensor],
        parts: Sequence[SubNetwork],
        x_BCT: Tensor,
        taken: int,
        given: int,
        halo: int,
    ) -> Tensor:
        """Apply a network to a possibly long input; the arguments are those of :func:`in_chunks`."""
        in_parts = (self.in_tiles or x_BCT.device.type == "cpu") and not torch.is_grad_enabled()

        def network(x_BC1T: Tensor) -> Tensor:
            return functools.reduce(in_tiles, parts, x_BC1T) if in_parts else whole(x_BC1T)

        x_BC1T = x_BCT.unsqueeze(2).contiguous(memory_format=torch.channels_last)
        n_frames = x_BCT.shape[-1] // taken
        if len(x_BCT) * n_frames <= self.one_pass_frames:
            return network(x_BC1T).squeeze(2)
        step = n_frames if n_frames <= self.one_pass_frames else self.chunk_frames
        return torch.cat([in_chunks(network, row, taken, given, halo, step) for row in x_BC1T.split(1)]).squeeze(2)


def in_chunks(
    network: Callable[[Tensor], Tensor], x_BC1T: Tensor, taken: int, given: int, halo: int, step: int
) -> Tensor:
    """Apply a network to a long input in overlapping chunks.

    Args:
        network: The network.
        x_BC1T: Input.
        taken: Input samples per frame.
        given: Output samples per frame.
        halo: Frames of receptive field on either side of a frame.
        step: Frames of a chunk, without overlap.
    """
    n_frames, pieces = x_BC1T.shape[-1] // taken, []
    for start in range(0, n_frames, step):
        stop = min(n_frames, start + step)
        before, after = max(0, start - halo), min(n_frames, stop + halo)
        piece = network(x_BC1T[..., before * taken : after * taken])
        pieces.append(piece[..., (start - before) * given : (stop - before) * given])
    return torch.cat(pieces, -1) if len(pieces) > 1 else pieces[0]


def in_tiles(x_BC1T: Tensor, part: SubNetwork) -> Tensor:
    """Apply a sub-network in tiles that fit in the cache of a CPU, if the overlap is small compared to the tile."""
    rate = max(part.taken, part.given)
    halo = math.ceil(((rate + 1) // 2 + 3 * sum(DILATIONS) + part.edge) / rate)
    step = TILE // (part.width * rate)
    if step < MIN_TILE * halo:
        return part.network(x_BC1T)
    return in_chunks(part.network, x_BC1T, part.taken, part.given, halo, step)


class AudioConvolution(nn.Conv2d):
    """The last convolution of the decoder, which cuDNN computes slowly for two output channels in float16."""

    def forward(self, x_BC1T: Tensor) -> Tensor:
        """Apply the convolution; in float16 on a GPU, with more output channels than are returned."""
        if not (x_BC1T.is_cuda and x_BC1T.dtype == torch.float16):
            return super().forward(x_BC1T)
        weight = F.pad(self.weight, (0, 0) * 3 + (0, -self.out_channels % 8))
        return F.conv2d(x_BC1T, weight, padding=self.padding)[:, : self.out_channels]


def _convolution(before: int, after: int, kernel: int, dilation: int = 1, *, bias: bool = True) -> nn.Conv2d:
    """Create a convolution over time that keeps the length."""
    padding = (0, dilation * (kernel // 2))
    return nn.Conv2d(before, after, (1, kernel), padding=padding, dilation=(1, dilation), bias=bias)


def _encoder(sizes: Sequence[int], strides: Sequence[int], channels: int) -> nn.Sequential:
    """Create the encoder: convolution, stages, snake, convolution."""
    layers: list[nn.Module] = [_convolution(2, sizes[0], 7)]
    for before, after, stride in zip(sizes, sizes[1:], strides, strict=False):
        units = [ResidualUnit(before, dilation) for dilation in DILATIONS]
        downsample = nn.Conv2d(before, after, (1, 2 * stride), (1, stride), (0, (stride + 1) // 2))
        layers.append(nn.Sequential(*units, Snake(before), downsample))
    return nn.Sequential(*layers, Snake(sizes[-1]), _convolution(sizes[-1], channels, 3))


def _decoder(sizes: Sequence[int], strides: Sequence[int], channels: int) -> nn.Sequential:
    """Create the decoder, the mirror image of the encoder; its last convolution has no bias."""
    layers: list[nn.Module] = [_convolution(channels, sizes[-1], 7)]
    for before, after, stride in zip(sizes[:0:-1], sizes[-2::-1], reversed(strides), strict=True):
        upsample = nn.ConvTranspose2d(before, after, (1, 2 * stride), (1, stride), (0, (stride + 1) // 2))
        units = [ResidualUnit(after, dilation) for dilation in DILATIONS]
        layers.append(nn.Sequential(Snake(before), upsample, *units))
    return nn.Sequential(*layers, Snake(sizes[0]), AudioConvolution(sizes[0], 2, (1, 7), padding=(0, 3), bias=False))


def encoder_reach(strides: Sequence[int]) -> int:
    """Return the receptive field of the encoder: audio samples on either side of a latent frame.

    Example:
        >>> encoder_reach((2, 4, 4, 8, 8)) / 2048
        7.2...
    """
    reach = 1
    for stride in reversed(strides):
        reach = reach * stride + (stride + 1) // 2 + 3 * sum(DILATIONS)
    return reach + 3


def decoder_reach(strides: Sequence[int]) -> int:
    """Return the receptive field of the decoder: latent frames on either side of a frame.

    Example:
        >>> decoder_reach((2, 4, 4, 8, 8))
        10
    """
    reach = 3
    for stride in strides:
        reach = math.ceil((reach + 3 * sum(DILATIONS) + (stride + 1) // 2) / stride)
    return reach + 3
