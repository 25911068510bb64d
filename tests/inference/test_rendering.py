from __future__ import annotations

import pytest
import torch

from prismaudio.audio import level
from prismaudio.audio.level import true_peak_db
from prismaudio.autoencoders.oobleck import OobleckAutoencoder
from prismaudio.inference import rendering
from prismaudio.inference.rendering import Renderer, limit_
from prismaudio.inference.settings import Settings


def tone(gain: float) -> torch.Tensor:
    return gain * torch.sin(torch.arange(16_000) / 7).repeat(2, 1)


@pytest.mark.parametrize("gain", [0.95, 2.0, 50.0])
@pytest.mark.parametrize("n_samples", [10, 100, 16_000])
def test_nothing_exceeds_the_ceiling(gain, n_samples):
    audio = tone(gain)[:, :n_samples]
    assert true_peak_db(limit_(audio.clone(), 16_000), 16_000) <= -0.999


def test_what_is_not_too_loud_is_left_alone():
    assert torch.equal(limit_(tone(0.5), 16_000), tone(0.5))
    assert not limit_(torch.zeros(2, 100), 16_000).any()


def test_one_blast_does_not_hide_the_rest():
    audio = tone(0.1)
    audio[:, 8000:8100] *= 100
    made = limit_(audio.clone(), 16_000)
    assert torch.allclose(made[:, :7000], audio[:, :7000], rtol=0.2)
    assert torch.allclose(made[:, 9000:], audio[:, 9000:], rtol=0.2)


def test_a_long_sound_is_lowered_in_pieces_that_cannot_be_heard(monkeypatch):
    torch.manual_seed(0)
    audio = torch.randn(2, 50_000)
    audio[:, 20_000:30_000] *= 0.01
    whole = limit_(audio.clone(), 16_000)
    monkeypatch.setattr(rendering, "LIMITED_SAMPLES", 3_000)
    monkeypatch.setattr(level, "_PIECE", 5_000)
    torch.testing.assert_close(limit_(audio.clone(), 16_000), whole, atol=1e-6, rtol=1e-5)


def test_both_ears_are_lowered_alike():
    audio = tone(3.0) * torch.tensor([[1.0], [0.25]])
    made = limit_(audio.clone(), 16_000)
    assert torch.allclose(made[1], made[0] * 0.25, atol=1e-5)


def test_an_autoencoder_that_decodes_any_length_leaves_no_seam(monkeypatch):
    torch.manual_seed(0)
    codec = OobleckAutoencoder(width=4, multipliers=(1,), strides=(4,), latent_channels=3)
    renderer = Renderer(None, codec, {}, Settings(None), torch.device("cpu"))  # type: ignore[arg-type]
    monkeypatch.setattr(rendering, "DECODED_FRAMES", 50)
    latents = torch.randn(3, 90)
    with torch.inference_mode():
        expected = limit_(codec.decode(latents[None])[0], codec.sample_rate_hz)
        torch.testing.assert_close(renderer.finished(latents, 360 / codec.sample_rate_hz), expected)


def test_a_long_sound_is_decoded_in_pieces_of_bounded_length(tiny_model, monkeypatch):
    codec, lengths = tiny_model.autoencoder, []
    decode = type(codec).decode
    monkeypatch.setattr(rendering, "DECODED_FRAMES", 200)
    monkeypatch.setattr(rendering, "PIECE_FRAMES", 80)
    monkeypatch.setattr(type(codec), "decode", lambda self, x: lengths.append(x.shape[-1]) or decode(self, x))
    latents = torch.randn(codec.channels, 300, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        audio = tiny_model.renderer.finished(latents, 300 * codec.hop / codec.sample_rate_hz)
        assert max(lengths) == 80
        assert audio.shape == (2, 300 * codec.hop)
        tiny_model.renderer.finished(latents[:, :200], 1.0)
        assert lengths[-1] == 200
