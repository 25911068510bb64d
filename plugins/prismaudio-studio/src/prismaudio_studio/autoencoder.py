"""A small autoencoder that is fitted in closed form: parametric stereo over a principal-component spectrum."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from prismaudio.autoencoders.base import Autoencoder
from prismaudio.checkpoints import Configured, within


class ParametricStereoAutoencoder(Configured, Autoencoder):
    """Mono log-magnitude spectra in a fitted linear basis, with inter-channel level, time and coherence cues.

    A latent frame holds ``components`` principal components of two adjacent spectra of the power downmix,
    then ``level_bands`` inter-channel level differences, one inter-channel time difference and one
    inter-channel coherence. Phases are not stored: decoding estimates them with fast Griffin-Lim.
    :meth:`observe` and :meth:`fit` replace training; there is no gradient.

    Args:
        components: Number of principal components of a pair of spectra.
        level_bands: Number of frequency bands, equal on the ERB-rate scale, each with its own level difference.
        iterations: Griffin-Lim iterations per decode.
        sample_rate_hz: Sample rate, a multiple of 1 kHz; a latent frame lasts 16 ms at every rate.

    Source:
        Parametric stereo with level, time and coherence cues: Breebaart et al. 2005.
        Fast Griffin-Lim: Perraudin et al. 2013.

    Example:
        >>> codec = ParametricStereoAutoencoder(components=16)
        >>> codec.observe(torch.randn(4, 2, 16000)); codec.fit()
        >>> latents = codec.encode(torch.randn(1, 2, 16000))
        >>> latents.shape, codec.decode(latents).shape
        (torch.Size([1, 22, 63]), torch.Size([1, 2, 16128]))
    """

    floor = 3e-4
    """Magnitude floor, -70 dB, for audio in -1 .. 1 and a window with sum 1."""
    itd_limit_s = 0.8e-3
    hann: Tensor
    bands: Tensor
    mean: Tensor
    basis: Tensor
    scale: Tensor
    offset: Tensor

    def __init__(
        self, components: int = 40, level_bands: int = 4, iterations: int = 12, sample_rate_hz: int = 16_000
    ) -> None:
        super().__init__()
        within(8_000, 48_000, sample_rate_hz=sample_rate_hz)
        if sample_rate_hz % 1000:
            raise ValueError(f"sample_rate_hz is {sample_rate_hz}; expected a multiple of 1000")
        self.sample_rate_hz = sample_rate_hz
        self.hop = sample_rate_hz * 2 // 125
        self.window = 2 * self.hop
        within(1, 2 * (self.window // 2 + 1), components=components, level_bands=level_bands)
        within(0, 1000, iterations=iterations)
        self.components, self.level_bands, self.iterations = components, level_bands, iterations
        self.channels = components + level_bands + 2
        size = 2 * (self.window // 2 + 1)
        hann = torch.hann_window(self.window)
        self.register_buffer("hann", hann, persistent=False)
        bands = _erb_bands(level_bands, self.window // 2 + 1, self.sample_rate_hz)
        self.register_buffer("bands", bands, persistent=False)
        self.register_buffer("mean", torch.zeros(size))
        self.register_buffer("basis", torch.eye(size)[:components].clone())
        self.register_buffer("scale", torch.ones(self.channels))
        self.register_buffer("offset", torch.zeros(self.channels))
        self._sums: list[Tensor] | None = None

    # Fitting -----------------------------------------------------------------------------------------------------
    def observe(self, audio: Tensor) -> None:
        """Add audio ``(batch, 2, samples)`` to the statistics that :meth:`fit` uses."""
        spectra = self._spectra(audio)
        pairs = self._pairs(self._log_magnitude(spectra)).flatten(0, 1).double()
        cues = torch.cat(self._cues(spectra), 1).transpose(1, 2).flatten(0, 1).double()
        new = [
            torch.tensor(float(len(pairs)), dtype=torch.float64),
            pairs.sum(0),
            pairs.T @ pairs,
            cues.sum(0),
            cues.square().sum(0),
        ]
        self._sums = new if self._sums is None else [a + b for a, b in zip(self._sums, new, strict=True)]

    def fit(self) -> None:
        """Compute the basis and the latent scale from the observed audio."""
        if self._sums is None:
            raise RuntimeError("no audio was observed; call observe(audio) before fit()")
        count, total, products, cue_total, cue_squares = self._sums
        mean = total / count
        variance, vectors = torch.linalg.eigh(products / count - mean[:, None] * mean)
        variance, vectors = variance.flip(0)[: self.components], vectors.flip(1)[:, : self.components]
        vectors = vectors * vectors.sum(0).sign()
        deviation = variance.clamp_min(1e-9).sqrt()
        # latent std of a component = square root of its own std, so that components of high variance weigh more
        spread = (deviation / deviation[0]).sqrt()
        cue_mean = cue_total / count
        cue_spread = (cue_squares / count - cue_mean.square()).clamp_min(1e-9).sqrt()
        self.mean.copy_(mean)
        self.basis.copy_(vectors.T)
        self.scale.copy_(torch.cat([deviation / spread, cue_spread]))
        self.offset.copy_(torch.cat([torch.zeros(self.components, dtype=torch.float64), cue_mean]))
        self._sums = None

    def truncated(self, components: int, iterations: int | None = None) -> ParametricStereoAutoencoder:
        """The same autoencoder with its first components only: what fitting with so many would have given.

        Args:
            components: Number of components, at most those that it has.
            iterations: Griffin-Lim iterations; None for as many as before.
        """
        within(1, self.components, components=components)
        count = self.iterations if iterations is None else iterations
        small = ParametricStereoAutoencoder(components, self.level_bands, count, self.sample_rate_hz)
        kept = [*range(components), *range(self.components, self.channels)]
        small.mean.copy_(self.mean)
        small.basis.copy_(self.basis[:components])
        small.scale.copy_(self.scale[kept])
        small.offset.copy_(self.offset[kept])
        return small.train(self.training)

    # Contract ----------------------------------------------------------------------------------------------------
    def encode(self, audio: Tensor) -> Tensor:
        """Latents ``(batch, channels, frames)`` of audio ``(batch, 2, samples)``; frames = ceil(samples / hop)."""
        spectra = self._spectra(audio)
        weights = (self._pairs(self._log_magnitude(spectra)) - self.mean) @ self.basis.T
        latents = torch.cat([weights.transpose(1, 2), *self._cues(spectra)], 1)
        return (latents - self.offset[:, None]) / self.scale[:, None]

    def decode(self, latents: Tensor) -> Tensor:
        """Audio ``(batch, 2, frames * hop)`` of latents ``(batch, channels, frames)``."""
        latents = latents.float() * self.scale[:, None] + self.offset[:, None]
        weights, level, delay, coherence = latents.split([self.components, self.level_bands, 1, 1], 1)
        pairs = weights.transpose(1, 2) @ self.basis + self.mean
        log_magnitude = pairs.unflatten(-1, (2, -1)).flatten(1, 2).transpose(1, 2)
        magnitude = (log_magnitude.clamp(max=math.log(4.0)).exp() - self.floor).clamp_min(0)
        samples = latents.shape[-1] * self.hop
        mono = self._griffin_lim(magnitude, samples)
        return self._spread(mono, level, delay, coherence, samples)

    def log_magnitude(self, audio: Tensor) -> Tensor:
        """Natural log magnitudes ``(batch, bins, steps)`` of the power downmix of audio ``(batch, 2, samples)``."""
        return self._log_magnitude(self._spectra(audio))

    # Analysis ----------------------------------------------------------------------------------------------------
    def _spectra(self, audio: Tensor) -> Tensor:
        """Complex spectra ``(batch, 2, bins, 2 * frames)`` of audio padded to whole latent frames."""
        audio = F.pad(audio.float(), (0, -audio.shape[-1] % self.hop))
        spectra = self._stft(audio.flatten(0, 1))[..., :-1]
        return spectra.unflatten(0, (-1, 2))

    def _stft(self, signal: Tensor) -> Tensor:
        scaled = self.hann / self.hann.sum()
        return torch.stft(signal, self.window, self.hop // 2, window=scaled, return_complex=True, pad_mode="constant")

    def _log_magnitude(self, spectra: Tensor) -> Tensor:
        power = spectra.abs().square().mean(1)
        return (power.sqrt() + self.floor).log()

    def _pairs(self, log_magnitude: Tensor) -> Tensor:
        """Concatenate pairs of adjacent spectra, ``(batch, frames, 2 * bins)``."""
        return log_magnitude.transpose(1, 2).unflatten(1, (-1, 2)).flatten(2)

    def _cues(self, spectra: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Level differences, time difference and coherence of each latent frame.

        Returns:
            Right over left level in dB, ``(batch, bands, frames)``; delay of the left channel in ms, positive for a
            source on the right, ``(batch, 1, frames)``; coherence, ``(batch, 1, frames)``.
        """
        power = _smooth(spectra.abs().square())
        cross = _smooth(spectra[:, 0] * spectra[:, 1].conj())
        quiet = self.floor**2
        left, right = (power.transpose(-1, -2) @ self.bands.T).transpose(-1, -2).unbind(1)
        floor = 0.05 * quiet * self.bands.sum(1)[:, None]  # a higher one would bias quiet audio to the centre
        level = 10 * ((right + floor) / (left + floor)).log10()
        lags = torch.linspace(-self.itd_limit_s, self.itd_limit_s, 65, device=cross.device)
        hertz = torch.linspace(0, self.sample_rate_hz / 2, self.window // 2 + 1, device=cross.device)
        turn = torch.exp(2j * math.pi * lags[:, None] * hertz)
        # weighting between plain cross-correlation and the phase transform, with a weak prior for the centre
        weight = cross / (cross.abs() + quiet).sqrt()
        match = (turn @ weight).real / (weight.abs().sum(1, keepdim=True) + self.floor)
        sharp = torch.softmax(40 * match - 0.5 * (lags / self.itd_limit_s)[:, None].square(), 1)
        delay = (sharp * lags[:, None]).sum(1, keepdim=True) * 1e3
        coherence = cross.abs().sum(1, keepdim=True) / ((power[:, 0] * power[:, 1]).sqrt().sum(1, keepdim=True) + quiet)
        return tuple(F.avg_pool1d(cue, 2) for cue in (level.clamp(-20, 20), delay, coherence.clamp(0, 1)))  # type: ignore[return-value]

    # Synthesis ---------------------------------------------------------------------------------------------------
    def _griffin_lim(self, magnitude: Tensor, samples: int) -> Tensor:
        """Spectra ``(batch, bins, steps)`` of a mono signal whose magnitudes are near ``magnitude``."""
        generator = torch.Generator().manual_seed(0)
        angle = torch.rand(magnitude.shape[1:], generator=generator).to(magnitude) * 2 * math.pi
        estimate = torch.polar(magnitude, angle.expand_as(magnitude))
        previous = torch.zeros_like(estimate)
        for _ in range(self.iterations):
            rebuilt = self._stft(self._istft(estimate, samples))[..., :-1]
            leap = previous.neg_().add_(rebuilt).mul_(0.99).add_(rebuilt)  # in place: this dominates memory use
            previous = rebuilt
            size = leap.abs().clamp_min_(1e-9)
            estimate = leap.mul_(magnitude).div_(size)
        return estimate

    def _istft(self, spectra: Tensor, samples: int) -> Tensor:
        scaled = self.hann / self.hann.sum()
        last = torch.zeros_like(spectra[..., :1])
        return torch.istft(torch.cat([spectra, last], -1), self.window, self.hop // 2, window=scaled, length=samples)

    def _spread(self, mono: Tensor, level_db: Tensor, delay_ms: Tensor, coherence: Tensor, samples: int) -> Tensor:
        """Upmix mono to two channels with the cues of each latent frame."""
        cues = (level_db, delay_ms, coherence.clamp(0, 1))
        level_db, delay_ms, coherence = (cue.repeat_interleave(2, -1) for cue in cues)
        ratio = 10 ** ((self.bands / self.bands.sum(0)).T @ level_db / 10)
        right, left = (2 * ratio / (1 + ratio)).sqrt(), (2 / (1 + ratio)).sqrt()
        hertz = torch.linspace(0, self.sample_rate_hz / 2, mono.shape[1], device=mono.device)[:, None]
        delay_s = delay_ms.clamp(-1e3 * self.itd_limit_s, 1e3 * self.itd_limit_s) * 1e-3
        half = torch.polar(torch.ones_like(delay_s * hertz), math.pi * hertz * delay_s)
        direct, diffuse = ((1 + coherence) / 2).sqrt(), ((1 - coherence) / 2).sqrt()
        scattered = mono * torch.polar(torch.ones_like(hertz), _scatter_phase(len(hertz), mono.device)[:, None])
        first = left * (direct * mono + diffuse * scattered) * half.conj()
        second = right * (direct * mono - diffuse * scattered) * half
        return torch.stack([self._istft(channel, samples) for channel in (first, second)], 1)


def _smooth(spectra: Tensor) -> Tensor:
    """Average over three adjacent spectra, which makes the cues robust to noise."""
    shape = spectra.shape
    flat = torch.view_as_real(spectra).movedim(-1, 0) if spectra.is_complex() else spectra[None]
    flat = F.avg_pool1d(flat.flatten(0, -2).unsqueeze(1), 3, 1, 1, count_include_pad=False).squeeze(1)
    flat = flat.unflatten(0, (-1, *shape[:-1]))
    return torch.view_as_complex(flat.movedim(0, -1).contiguous()) if spectra.is_complex() else flat[0]


def _erb_bands(count: int, bins: int, sample_rate_hz: int) -> Tensor:
    """Triangular bands ``(count, bins)`` that sum to one at every frequency."""
    hertz = torch.linspace(0, sample_rate_hz / 2, bins)
    rate = 21.4 * torch.log10(1 + 0.00437 * hertz)
    position = rate / rate[-1] * count - 0.5
    centres = torch.arange(count)[:, None]
    return (1 - (position.clamp(0, count - 1) - centres).abs()).clamp_min(0)


def _scatter_phase(bins: int, device: torch.device) -> Tensor:
    """A fixed phase for each frequency that decorrelates two channels, smooth enough to scatter over about 10 ms."""
    generator = torch.Generator().manual_seed(1)
    steps = (torch.rand(bins, generator=generator) - 0.5) * math.pi
    return steps.cumsum(0).to(device)
