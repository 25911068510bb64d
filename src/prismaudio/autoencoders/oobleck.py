"""The published stereo autoencoder: strided convolutions with snake activations, and a Gaussian bottleneck.

Shape letters: B batch, C channels, T samples or frames. Inside the networks sound is a frame one pixel high, in the
channels-last layout: on a CPU that is 1.4 to 1.7 times as quick as convolutions of one dimension.
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
"""Numbers in a tile: 2 MB, what a CPU keeps near. It makes both directions about one and a half times as quick."""
MIN_TILE = 16
"""Length of a tile over its overlap, so that little is computed twice."""


class Snake(nn.Module):
    """``x + sin²(e^alpha x) / e^beta``, with a frequency and a size for each channel.

    Args:
        channels: Number of channels.

    Source:
        Ziyin et al. 2020, in the variant with two log-scale parameters of BigVGAN (Lee et al. 2023).

    Example:
        >>> Snake(2)(torch.full((1, 2, 1, 1), torch.pi / 2)).flatten().tolist()
        [2.57..., 2.57...]
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.alpha = nn.Parameter(torch.zeros(channels))
        self.beta = nn.Parameter(torch.zeros(channels))

    def forward(self, x_BC1T: Tensor) -> Tensor:
        """Apply; without gradients it needs memory for its result only."""
        rate, size = self.alpha.exp()[:, None, None], 1 / (self.beta.exp() + 1e-9)[:, None, None]
        if torch.is_grad_enabled() or torch.compiler.is_compiling():
            return x_BC1T + size * (rate * x_BC1T).sin().square()
        wave = (x_BC1T * rate).sin_().square_().mul_(size)
        return wave.add_(x_BC1T)


class ResidualUnit(nn.Sequential):
    """Snake, dilated convolution, snake, convolution of single samples, added to the input.

    Args:
        channels: Number of channels.
        dilation: Dilation of the first convolution.
    """

    def __init__(self, channels: int, dilation: int) -> None:
        wide = _convolution(channels, channels, 7, dilation)
        super().__init__(Snake(channels), wide, Snake(channels), _convolution(channels, channels, 1))

    def forward(self, x_BC1T: Tensor) -> Tensor:
        """Apply."""
        return super().forward(x_BC1T) + x_BC1T


@dataclass(frozen=True, eq=False)
class Posterior:
    """The Gaussian that the encoder makes of a sound.

    Args:
        mean: Its means ``(batch, channels, frames)``.
        std: Its standard deviations, of the same shape.
    """

    mean: Tensor
    std: Tensor

    @classmethod
    def of(cls, raw: Tensor) -> Posterior:
        """From what the encoder puts out, ``(batch, 2 * channels, frames)``."""
        mean, scale = raw.chunk(2, 1)
        return cls(mean, F.softplus(scale) + MIN_STD)

    def at(self, noise: Tensor) -> Tensor:
        """Latents that standard normal noise leads to."""
        return self.mean + self.std * noise.to(self.mean)

    def sample(self, generator: torch.Generator) -> Tensor:
        """Latents ``(batch, channels, frames)``; the noise is drawn where the generator lives."""
        return self.at(torch.randn(self.mean.shape, generator=generator, device=generator.device))

    def kl(self) -> Tensor:
        """Twice the divergence from a standard normal: the sum over channels, its mean over batch and frames.

        Source:
            ``PrismAudio/models/bottleneck.py`` at 86eed40, which leaves out the factor one half.
        """
        variance = self.std.square()
        return (self.mean.square() + variance - variance.log() - 1).sum(1).mean()


@dataclass(frozen=True, eq=False)
class Part:
    """A part of a network that has one stage at most.

    Args:
        network: The part.
        taken: Samples a frame of what goes in.
        given: Samples a frame of what comes out.
        width: Channels at the higher of its rates.
        edge: Samples at that rate on which it depends beyond its stage.
    """

    network: nn.Module
    taken: int
    given: int
    width: int
    edge: int = 0


class OobleckAutoencoder(Configured, Autoencoder):
    """Latents at 21.5 Hz of stereo sound at 44.1 kHz, by default: the autoencoder of the published model.

    Its convolutions are plain ones: the published weight normalisation is multiplied out when a checkpoint is
    imported, for PrismAudio never trains its autoencoder and a plain weight is quicker and half as many keys. Sound of
    any length is encoded and decoded in constant memory: what is longer than ``one_pass_frames`` goes through in
    pieces that overlap by the receptive field, so that the result is that of one pass.

    Args:
        width: Channels at the sample rate.
        multipliers: Channels after each stage of the encoder, over ``width``.
        strides: Samples that each stage of the encoder makes one of; their product is the hop.
        latent_channels: Channels of a latent frame.
        sample_rate_hz: Sample rate of the sound.
        one_pass_frames: Latent frames, of all samples of a batch together, that are encoded or decoded in one pass.
        chunk_frames: Latent frames of a piece of what is longer, without its overlap.

    Source:
        ``PrismAudio/models/autoencoders.py`` at 86eed40, from its specification (the Oobleck of Stable Audio Open,
        Evans et al. 2024). diffusers' ``AutoencoderOobleck`` computes bit for bit the same, but names every weight
        differently, wants the encoder's width to be twice the latent channels, which the published sizes happen to
        satisfy and smaller ones do not, decodes long sound in one pass, and is a dependency of 61 MB: so this is our
        own.

    Example:
        >>> codec = OobleckAutoencoder(width=4, multipliers=(1, 2), strides=(2, 4), latent_channels=3)
        >>> latents = codec.encode(torch.randn(1, 2, 30))
        >>> latents.shape, codec.decode(latents).shape
        (torch.Size([1, 3, 4]), torch.Size([1, 2, 32]))
    """

    any_length = True

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
        within(1, 65_536, width=width, latent_channels=latent_channels, most_channels=width * max(multipliers))
        within(1, 65_536, least_multiplier=min(multipliers), hop=math.prod(strides))
        within(1000, 384_000, sample_rate_hz=sample_rate_hz)
        within(1, 1_000_000, chunk_frames=chunk_frames, one_pass_frames=one_pass_frames)
        self.strides, self.channels, self.sample_rate_hz = tuple(strides), latent_channels, sample_rate_hz
        self.hop = math.prod(strides)
        self.one_pass_frames, self.chunk_frames = one_pass_frames, chunk_frames
        self.sizes = sizes = [width, *(width * multiplier for multiplier in multipliers)]
        self.encoder = _encoder(sizes, self.strides, 2 * latent_channels)
        self.decoder = _decoder(sizes, self.strides, latent_channels)
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch does not annotate it

    def encode(self, audio: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Latents ``(batch, channels, frames)`` of audio ``(batch, 2, samples)``; frames = ceil(samples / hop).

        Args:
            audio: The sound; silence is added up to a whole frame.
            generator: Draws latents from the posterior; None for their means.
        """
        posterior = self.posterior(audio)
        return posterior.mean if generator is None else posterior.sample(generator)

    def posterior(self, audio: Tensor) -> Posterior:
        """Means and standard deviations of the latents of audio ``(batch, 2, samples)``."""
        whole = F.pad(audio, (0, -audio.shape[-1] % self.hop))
        halo = -(-encoder_reach(self.strides) // self.hop)
        return Posterior.of(self._in_chunks(self.encoder, self._encoder_parts, whole, self.hop, 1, halo))

    def decode(self, latents: Tensor) -> Tensor:
        """Audio ``(batch, 2, frames * hop)`` of latents ``(batch, channels, frames)``."""
        halo = decoder_reach(self.strides)
        audio = self._in_chunks(self.decoder, self._decoder_parts, latents, 1, self.hop, halo)
        return F.pad(audio, (0, latents.shape[-1] * self.hop - audio.shape[-1]))  # odd strides lose the last ones

    @property
    def _encoder_parts(self) -> list[Part]:
        """The first convolution with the first stage, the other stages, what comes last."""
        layers, last = self.encoder, len(self.strides)
        firsts = [0, *range(2, last + 1)]
        stages = [
            Part(layers[first : stage + 2], self.strides[stage], 1, self.sizes[stage], 3 * (stage == 0))
            for stage, first in enumerate(firsts)
        ]
        return [*stages, Part(layers[last + 1 :], 1, 1, self.sizes[-1])]

    @property
    def _decoder_parts(self) -> list[Part]:
        """What comes first, the stages, the last stage with what comes after it."""
        layers, last = self.decoder, len(self.strides)
        ends = [*range(2, last + 1), len(layers)]
        stages = [
            Part(layers[index + 1 : end], 1, self.strides[~index], self.sizes[~index - 1], 3 * (end > last + 1))
            for index, end in enumerate(ends)
        ]
        return [Part(layers[:1], 1, 1, self.sizes[-1]), *stages]

    def _in_chunks(
        self, whole: nn.Module, parts: Sequence[Part], x_BCT: Tensor, taken: int, given: int, halo: int
    ) -> Tensor:
        """What a network makes of something that may be long; the arguments are those of :func:`in_pieces`."""
        in_parts = x_BCT.device.type == "cpu" and not torch.is_grad_enabled()

        def network(x_BC1T: Tensor) -> Tensor:
            return functools.reduce(in_tiles, parts, x_BC1T) if in_parts else whole(x_BC1T)

        x_BC1T = x_BCT.unsqueeze(2).contiguous(memory_format=torch.channels_last)
        n_frames = x_BCT.shape[-1] // taken
        if len(x_BCT) * n_frames <= self.one_pass_frames:
            return network(x_BC1T).squeeze(2)
        step = n_frames if n_frames <= self.one_pass_frames else self.chunk_frames
        return torch.cat([in_pieces(network, row, taken, given, halo, step) for row in x_BC1T.split(1)]).squeeze(2)


def in_pieces(
    network: Callable[[Tensor], Tensor], x_BC1T: Tensor, taken: int, given: int, halo: int, step: int
) -> Tensor:
    """What a network makes of something long, piece by piece.

    Args:
        network: The network.
        x_BC1T: What goes in.
        taken: Samples a frame of what goes in.
        given: Samples a frame of what comes out.
        halo: Frames on either side on which a frame depends.
        step: Frames of a piece.
    """
    n_frames, pieces = x_BC1T.shape[-1] // taken, []
    for start in range(0, n_frames, step):
        stop = min(n_frames, start + step)
        before, after = max(0, start - halo), min(n_frames, stop + halo)
        piece = network(x_BC1T[..., before * taken : after * taken])
        pieces.append(piece[..., (start - before) * given : (stop - before) * given])
    return torch.cat(pieces, -1) if len(pieces) > 1 else pieces[0]


def in_tiles(x_BC1T: Tensor, part: Part) -> Tensor:
    """What a part of a network makes of its input, in tiles that a CPU keeps near, where the overlap is small."""
    rate = max(part.taken, part.given)
    halo = math.ceil(((rate + 1) // 2 + 3 * sum(DILATIONS) + part.edge) / rate)
    step = TILE // (part.width * rate)
    if step < MIN_TILE * halo:
        return part.network(x_BC1T)
    return in_pieces(part.network, x_BC1T, part.taken, part.given, halo, step)


def _convolution(before: int, after: int, kernel: int, dilation: int = 1, *, bias: bool = True) -> nn.Conv2d:
    """A convolution over time that keeps the length."""
    padding = (0, dilation * (kernel // 2))
    return nn.Conv2d(before, after, (1, kernel), padding=padding, dilation=(1, dilation), bias=bias)


def _encoder(sizes: Sequence[int], strides: Sequence[int], channels: int) -> nn.Sequential:
    """Convolution, stages, snake, convolution."""
    layers: list[nn.Module] = [_convolution(2, sizes[0], 7)]
    for before, after, stride in zip(sizes, sizes[1:], strides, strict=False):
        units = [ResidualUnit(before, dilation) for dilation in DILATIONS]
        shorter = nn.Conv2d(before, after, (1, 2 * stride), (1, stride), (0, (stride + 1) // 2))
        layers.append(nn.Sequential(*units, Snake(before), shorter))
    return nn.Sequential(*layers, Snake(sizes[-1]), _convolution(sizes[-1], channels, 3))


def _decoder(sizes: Sequence[int], strides: Sequence[int], channels: int) -> nn.Sequential:
    """The mirror image; its last convolution has no bias."""
    layers: list[nn.Module] = [_convolution(channels, sizes[-1], 7)]
    for before, after, stride in zip(sizes[:0:-1], sizes[-2::-1], reversed(strides), strict=True):
        longer = nn.ConvTranspose2d(before, after, (1, 2 * stride), (1, stride), (0, (stride + 1) // 2))
        units = [ResidualUnit(after, dilation) for dilation in DILATIONS]
        layers.append(nn.Sequential(Snake(before), longer, *units))
    return nn.Sequential(*layers, Snake(sizes[0]), _convolution(sizes[0], 2, 7, bias=False))


def encoder_reach(strides: Sequence[int]) -> int:
    """Samples on either side of a latent frame on which it depends.

    Example:
        >>> encoder_reach((2, 4, 4, 8, 8)) / 2048
        7.2...
    """
    reach = 1
    for stride in reversed(strides):
        reach = reach * stride + (stride + 1) // 2 + 3 * sum(DILATIONS)
    return reach + 3


def decoder_reach(strides: Sequence[int]) -> int:
    """Latent frames on either side of a frame on which its samples depend.

    Example:
        >>> decoder_reach((2, 4, 4, 8, 8))
        10
    """
    reach = 3
    for stride in strides:
        reach = math.ceil((reach + 3 * sum(DILATIONS) + (stride + 1) // 2) / stride)
    return reach + 3
