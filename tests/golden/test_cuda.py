"""The published numbers on a GPU: golden files in float32, and what bfloat16 and float16 differ by."""

from __future__ import annotations

from pathlib import Path

import golden_dit
import golden_vae
import pytest
import torch
from parity import Golden, read_tensors

from prismaudio.autoencoders.half import HalfPrecisionDecoder
from prismaudio.autoencoders.oobleck import OobleckAutoencoder

pytestmark = pytest.mark.gpu
DATA = Path(__file__).with_name("data")


@pytest.fixture(autouse=True)
def _whole_float32(monkeypatch):
    """Convolutions are computed in TensorFloat-32 by default."""
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)


def on_gpu(path):
    metadata, tensors = read_tensors(path)
    return metadata, Golden({name: tensor.cuda() for name, tensor in tensors.items()})


@pytest.mark.parametrize("name", ["dit_a", "dit_b"])
def test_every_tensor_of_the_transformer_agrees(name):
    metadata, tensors = on_gpu(DATA / f"{name}.safetensors")
    with torch.device("cuda"):
        assert golden_dit.check_tensors(metadata, tensors) == []


@pytest.mark.parametrize("name", ["vae_a", "vae_b"])
def test_every_tensor_of_the_autoencoder_agrees(name):
    metadata, tensors = on_gpu(DATA / f"{name}.safetensors")
    with torch.device("cuda"):
        assert golden_vae.check_tensors(metadata, tensors) == []


@torch.inference_mode()
def test_half_precision_decodes_the_same_audio():
    torch.manual_seed(0)
    codec = OobleckAutoencoder().cuda().eval()
    latents = torch.randn(1, 64, 50, device="cuda")
    exact, half = codec.decode(latents), HalfPrecisionDecoder(codec).decode(latents)
    assert (half - exact).norm() < 5e-3 * exact.norm()
