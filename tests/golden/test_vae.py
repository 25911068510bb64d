"""The replayer of the autoencoder's golden files finds what is wrong; that it finds nothing else is for test_replay."""

from __future__ import annotations

from pathlib import Path

import golden_vae as vae
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

DATA = Path(__file__).with_name("data")

with safe_open(DATA / "vae_b.safetensors", "pt") as _file:
    OUTPUTS = sorted(name for name in _file.keys() if name.startswith("out/"))  # noqa: SIM118 - not a mapping


def changed(folder, change):
    """A copy of a golden file in which ``change`` edited the tensors."""
    with safe_open(DATA / "vae_b.safetensors", "pt") as file:
        metadata, tensors = file.metadata(), {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    change(tensors)
    save_file(tensors, folder / "vae_b.safetensors", metadata)
    return folder / "vae_b.safetensors"


@pytest.mark.parametrize("name", OUTPUTS)
def test_one_perturbed_tensor_is_found(tmp_path, name):
    def perturb(tensors):
        noise = torch.randn(tensors[name].shape, generator=torch.Generator().manual_seed(0))
        size = 40 if tensors[name].dtype == torch.int16 else 1e-3 * tensors[name].abs().amax()
        tensors[name] = tensors[name] + (size * noise).to(tensors[name].dtype)

    found = vae.check_vae(changed(tmp_path, perturb))
    where = "out/latent" if name == "out/eps" else name  # the noise is what the latent is checked with
    assert any(where in problem for problem in found)


@pytest.mark.parametrize("name", ["in/audio", "in/z", "w/encoder.layers.1.layers.3.alpha"])
def test_a_perturbed_input_or_weight_is_found(tmp_path, name):
    found = vae.check_vae(changed(tmp_path, lambda tensors: tensors[name].add_(1e-3)))
    assert any("encoder_raw" in problem or "decode" in problem for problem in found)


def test_what_nobody_knows_fails(tmp_path):
    def add(tensors):
        tensors["out/unheard_of"], tensors["odd"] = torch.zeros(1), torch.zeros(1)

    assert vae.check_vae(changed(tmp_path, add)) == [
        "odd is neither a weight, an input nor an output",
        "out/unheard_of is not checked",
    ]
