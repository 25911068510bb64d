import math

import pytest
import torch

from prismaudio_studio.autoencoder import ParametricStereoAutoencoder


def strikes(azimuth: float, seed: int) -> torch.Tensor:
    """A second of decaying tones from one side, -1 (left) .. 1."""
    generator = torch.Generator().manual_seed(seed)
    n = 16_000
    time = torch.arange(n) / 16_000
    mono = sum(
        torch.exp(-8 * time) * torch.sin(2 * math.pi * f * time)
        for f in (300 + 2000 * torch.rand(5, generator=generator)).tolist()
    )
    spectrum, hertz = torch.fft.rfft(0.1 * mono), torch.linspace(0, 8000, n // 2 + 1)
    gain, turn = 10 ** (9 * azimuth / 40), torch.exp(1j * math.pi * hertz * 0.6e-3 * azimuth)
    return torch.stack([torch.fft.irfft(spectrum / gain / turn, n), torch.fft.irfft(spectrum * gain * turn, n)])


@pytest.fixture(scope="module")
def codec() -> ParametricStereoAutoencoder:
    codec = ParametricStereoAutoencoder(components=40)
    codec.observe(torch.stack([strikes(side / 10, side) for side in range(-10, 11)]))
    codec.fit()
    return codec


def test_spectra_are_reconstructed(codec: ParametricStereoAutoencoder) -> None:
    audio = torch.stack([strikes(0.3, 100), strikes(-0.9, 101)])
    rebuilt = codec.decode(codec.encode(audio))[..., :16_000]
    difference = codec.log_magnitude(audio) - codec.log_magnitude(rebuilt)
    assert 8.686 * difference.square().mean().sqrt() < 4.0


@pytest.mark.parametrize("azimuth", [-0.9, -0.3, 0.5, 1.0])
def test_direction_is_reconstructed(codec: ParametricStereoAutoencoder, azimuth: float) -> None:
    rebuilt = codec.decode(codec.encode(strikes(azimuth, 50)[None]))[0, :, :6000]
    left, right = rebuilt.square().sum(-1)
    assert 10 * math.log10(right / left) == pytest.approx(9 * azimuth, abs=1.5)
    spectra = torch.fft.rfft(rebuilt, 16_384)
    lags = torch.fft.irfft(spectra[0] * spectra[1].conj(), 16_384 * 8)
    lags = torch.cat([lags[-200:], lags[:200]])
    delay_ms = (int(lags.argmax()) - 200) / 8 / 16
    assert delay_ms == pytest.approx(0.6 * azimuth, abs=0.12)


def test_level_is_reconstructed(codec: ParametricStereoAutoencoder) -> None:
    audio = strikes(0.0, 7)[None]
    for gain in (1.0, 0.1):
        rebuilt = codec.decode(codec.encode(gain * audio))
        assert 20 * math.log10(rebuilt.std() / (gain * audio).std()) == pytest.approx(0, abs=1.5)


def test_silence_stays_silent(codec: ParametricStereoAutoencoder) -> None:
    assert codec.decode(codec.encode(torch.zeros(1, 2, 8000))).abs().max() < 3e-3


def test_fitting_without_audio_is_an_error() -> None:
    with pytest.raises(RuntimeError, match="observe"):
        ParametricStereoAutoencoder().fit()


@pytest.mark.parametrize("rate_hz", [24_000, 32_000])
def test_a_latent_frame_lasts_16_ms_at_every_rate(rate_hz: int) -> None:
    codec = ParametricStereoAutoencoder(components=4, sample_rate_hz=rate_hz)
    latents = codec.encode(0.1 * torch.randn(1, 2, rate_hz))
    assert latents.shape == (1, 10, 63)
    assert codec.decode(latents).shape == (1, 2, 63 * rate_hz * 16 // 1000)


def test_a_rate_without_whole_frames_is_an_error() -> None:
    with pytest.raises(ValueError, match="sample_rate_hz is 22050; expected a multiple of 1000"):
        ParametricStereoAutoencoder(sample_rate_hz=22_050)
