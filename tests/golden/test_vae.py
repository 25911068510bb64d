"""The replayer of the autoencoder's golden files finds what is wrong; that it finds nothing is test_replay's."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

DATA = Path(__file__).with_name("data")
_SPEC = importlib.util.spec_from_file_location("golden_vae", Path(__file__).with_name("vae.py"))
vae = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(vae)


def changed(folder, change):
    """A copy of a golden file in which ``change`` edited the tensors."""
    with safe_open(DATA / "vae_b.safetensors", "pt") as file:
        metadata, tensors = file.metadata(), {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    change(tensors)
    save_file(tensors, folder / "vae_b.safetensors", metadata)
    return folder / "vae_b.safetensors"


@pytest.mark.parametrize("name", ["vae_a", "vae_b"])
def test_the_files_agree(name):
    assert vae.check_vae(DATA / f"{name}.safetensors") == []


with safe_open(DATA / "vae_b.safetensors", "pt") as _file:
    OUTPUTS = sorted(name for name in _file.keys() if name.startswith("out/"))  # noqa: SIM118


@pytest.mark.parametrize("name", OUTPUTS)
def test_one_perturbed_tensor_is_found(tmp_path, name):
    def perturb(tensors):
        noise = torch.randn(tensors[name].shape, generator=torch.Generator().manual_seed(0))
        size = 40 if tensors[name].dtype == torch.int16 else 3e-3 * tensors[name].abs().amax()
        tensors[name] = tensors[name] + (size * noise).to(tensors[name].dtype)

    found = vae.check_vae(changed(tmp_path, perturb))
    where = "out/latent" if name == "out/eps" else name  # the noise is what the latent is checked with
    assert any(where in problem for problem in found)


def test_a_perturbed_weight_is_found(tmp_path):
    found = vae.check_vae(changed(tmp_path, lambda t: t["w/encoder.layers.1.layers.3.alpha"].mul_(1.01).add_(1e-3)))
    assert any("encoder_raw" in problem for problem in found)


def test_what_nobody_knows_fails(tmp_path):
    def add(tensors):
        tensors["out/unheard_of"], tensors["odd"] = torch.zeros(1), torch.zeros(1)

    assert vae.check_vae(changed(tmp_path, add)) == [
        "odd is neither a weight, an input nor an output",
        "out/unheard_of is not checked",
    ]
