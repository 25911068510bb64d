"""The replayer of the autoencoder's golden files finds what is wrong; that it finds nothing else is for test_replay."""

from __future__ import annotations

import json
from pathlib import Path

import golden_vae as vae
import pytest
import torch
from parity import read_tensors
from safetensors import safe_open
from safetensors.torch import save_file

from prismaudio.autoencoders.oobleck import OobleckAutoencoder
from prismaudio.autoencoders.published import oobleck_shapes

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


def test_unknown_tensors_fail(tmp_path):
    def add(tensors):
        tensors["out/unheard_of"], tensors["odd"] = torch.zeros(1), torch.zeros(1)

    assert vae.check_vae(changed(tmp_path, add)) == [
        "odd is neither a weight, an input nor an output",
        "out/unheard_of is not checked",
    ]


@pytest.fixture
def other(tmp_path):
    """A file of other sizes, a stride that is odd, and fewer samples to encode than to decode."""
    torch.manual_seed(0)
    same = {"channels": 6, "c_mults": [1, 3], "strides": [3, 4], "use_snake": True}
    encoder = same | {"in_channels": 2, "latent_dim": 10}
    decoder = same | {"out_channels": 2, "latent_dim": 5, "final_tanh": False}
    config = {"encoder": {"config": encoder}, "decoder": {"config": decoder}, "latent_dim": 5}
    shapes = {name: value.shape for name, value in OobleckAutoencoder(6, (1, 3), (3, 4), 5).state_dict().items()}
    weights = {name: torch.randn(shape) / 3 for name, shape in oobleck_shapes(shapes, []).items()}
    given = {"audio": torch.randn(1, 2, 60), "audio_odd": torch.randn(1, 2, 53), "z": torch.randn(3, 5, 4)}
    made = {"eps": torch.randn(1, 5, 5), "kl": torch.zeros(1), "decode": torch.zeros(3, 2, 47)}
    for name, value in vae.outputs(vae.model_of(config, weights), given, made):
        made[name] = value.detach().clone()
    tensors = {
        f"{prefix}/{name}": value.contiguous()
        for prefix, some in (("w", weights), ("in", given), ("out", made))
        for name, value in some.items()
    }
    save_file(tensors, tmp_path / "other.safetensors", {"config": json.dumps(config)})
    return tmp_path / "other.safetensors"


def test_any_configuration_is_replayed(other):
    assert vae.check_vae(other) == []
    metadata, tensors = read_tensors(other)
    tensors["out/decode"][0, 0, 20] += 0.1
    save_file(tensors, other, metadata)
    assert any("out/decode " in problem for problem in vae.check_vae(other))
    save_file(tensors, other, {"config": metadata["config"].replace('"final_tanh": false', '"final_tanh": true')})
    with pytest.raises(ValueError, match="whose decoder mirrors its encoder: final_tanh = True"):
        vae.check_vae(other)
    del tensors["in/z"]
    save_file(tensors, other, metadata)
    with pytest.raises(ValueError, match=r"the golden file lacks in/z$"):
        vae.check_vae(other)
