"""Decoding in half precision: close to float32, and in float32 where float16 overflows."""

from __future__ import annotations

import copy
import logging
from functools import partial

import torch
from torch._dynamo.testing import CompileCounter

from prismaudio.autoencoders.half import HalfPrecisionDecoder
from prismaudio.autoencoders.oobleck import OobleckAutoencoder


@torch.inference_mode()
def test_audio_is_close_and_one_that_overflows_is_decoded_in_float32(caplog) -> None:
    torch.manual_seed(0)
    codec = OobleckAutoencoder(width=4, multipliers=(1, 2), strides=(2, 4), latent_channels=3).eval()
    before = copy.deepcopy(codec.state_dict())
    half, latents = HalfPrecisionDecoder(codec), torch.randn(2, 3, 9)
    exact = codec.decode(latents)
    audio = half.decode(latents)
    assert audio.dtype == torch.float32
    assert 0 < (audio - exact).norm() < 1e-2 * exact.norm()
    with caplog.at_level(logging.WARNING, "prismaudio"):
        for _ in range(2):
            torch.testing.assert_close(half.decode(1e6 * latents), codec.decode(1e6 * latents), rtol=0, atol=0)
    (record,) = caplog.records
    assert record.message == "audio is not finite in float16 and is decoded in float32, which is slower"
    assert all(torch.equal(value, before[name]) for name, value in codec.state_dict().items())


def test_a_compiled_decoder_computes_the_same_and_keeps_its_weights_once(monkeypatch) -> None:
    torch.manual_seed(0)
    codec = OobleckAutoencoder(width=4, multipliers=(1,), strides=(4,), latent_channels=3).eval()
    latents, names = torch.randn(1, 3, 9), list(codec.state_dict())
    exact, counter, compiled = codec.decode(latents), CompileCounter(), copy.deepcopy(codec)
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend=counter))
    compiled.compile_decoder()
    assert list(compiled.state_dict()) == names
    torch.testing.assert_close(compiled.decode(latents), exact)  # with gradients: without, a CPU decodes in tiles
    assert counter.frame_count == 1
    with torch.no_grad():
        compiled.decoder[0].bias.add_(1)  # the copy has its own weights, and the compiled code reads them
    assert (compiled.decode(latents) - exact).abs().max() > 1e-3


@torch.no_grad()
def test_weights_that_are_loaded_later_are_copied() -> None:
    torch.manual_seed(0)
    codec, other = (OobleckAutoencoder(width=4, multipliers=(1,), strides=(4,), latent_channels=3) for _ in range(2))
    half, latents = HalfPrecisionDecoder(codec), torch.randn(1, 3, 9)
    codec.load_state_dict(other.state_dict())
    exact = other.decode(latents)
    assert (half.decode(latents) - exact).norm() < 1e-2 * exact.norm()
