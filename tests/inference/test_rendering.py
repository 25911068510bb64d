from __future__ import annotations

import torch

from prismaudio.audio.level import limit_
from prismaudio.autoencoders.oobleck import OobleckAutoencoder
from prismaudio.inference import rendering
from prismaudio.inference.rendering import Renderer
from prismaudio.inference.settings import Settings


def test_an_autoencoder_that_decodes_any_length_leaves_no_seam(monkeypatch):
    torch.manual_seed(0)
    codec = OobleckAutoencoder(width=4, multipliers=(1,), strides=(4,), latent_channels=3)
    renderer = Renderer(None, codec, {}, Settings(None), torch.device("cpu"))  # type: ignore[arg-type]
    monkeypatch.setattr(rendering, "DECODED_FRAMES", 50)
    latents = torch.randn(3, 90)
    with torch.inference_mode():
        expected = limit_(codec.decode(latents[None])[0], codec.sample_rate_hz)
        torch.testing.assert_close(renderer.decode([latents], [360 / codec.sample_rate_hz])[0], expected)


def test_a_long_sound_is_decoded_in_pieces_of_bounded_length(tiny_model, monkeypatch):
    codec, lengths = tiny_model.autoencoder, []
    decode = type(codec).decode
    monkeypatch.setattr(type(codec), "any_length", False)
    monkeypatch.setattr(rendering, "DECODED_FRAMES", 200)
    monkeypatch.setattr(rendering, "PIECE_FRAMES", 80)
    monkeypatch.setattr(type(codec), "decode", lambda self, x: lengths.append(x.shape[-1]) or decode(self, x))
    latents = torch.randn(codec.channels, 300, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        (audio,) = tiny_model.renderer.decode([latents], [300 * codec.hop / codec.sample_rate_hz])
        assert max(lengths) == 80
        assert audio.shape == (2, 300 * codec.hop)
        tiny_model.renderer.decode([latents[:, :200]], [1.0])
        assert lengths[-1] == 200
