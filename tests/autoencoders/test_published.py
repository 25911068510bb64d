import re
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from prismaudio.autoencoders.oobleck import OobleckAutoencoder
from prismaudio.autoencoders.published import oobleck_arguments, oobleck_shapes, oobleck_weights, other_part

GOLDEN = Path(__file__).parents[1] / "golden" / "data" / "vae_b.safetensors"


@pytest.fixture
def official():
    return {key[2:]: value for key, value in load_file(GOLDEN).items() if key.startswith("w/")}


def renamed(official):
    """The same weights, with the keys of torch's parametrisation."""
    new = {".weight_g": ".parametrizations.weight.original0", ".weight_v": ".parametrizations.weight.original1"}
    return {key[:-9] + new[key[-9:]] if key[-9:] in new else key: value for key, value in official.items()}


def test_both_key_conventions_give_the_same_weights(official):
    first, second = oobleck_weights(official), oobleck_weights(renamed(official))
    assert first.keys() == second.keys()
    assert all(torch.equal(first[key], second[key]) for key in first)


def test_arguments_are_inferred_from_shapes(official):
    for some in (official, renamed(official)):
        shapes = {key: tuple(value.shape) for key, value in some.items()}
        arguments = oobleck_arguments(shapes)
        assert arguments == {"width": 16, "multipliers": [1, 2, 4], "strides": [2, 4, 4], "latent_channels": 4}
        codec = OobleckAutoencoder(**arguments)
        codec.load_state_dict(oobleck_weights(some))
        ours = {key: tuple(value.shape) for key, value in codec.state_dict().items()}
        assert oobleck_shapes(ours, shapes) == shapes


def test_the_arguments_of_five_stages():
    shapes = {key[2:]: value.shape for key, value in load_file(GOLDEN.with_name("vae_a.safetensors")).items()}
    assert oobleck_arguments(shapes) == {
        "width": 8, "multipliers": [1, 2, 4, 8, 16], "strides": [2, 4, 4, 8, 8], "latent_channels": 8
    }  # fmt: skip


def test_weights_with_folded_normalisation(official):
    plain = {}
    for key, value in oobleck_weights(official).items():
        plain[re.sub(r"\.(\d+)", r".layers.\1", key)] = value.squeeze(2) if value.ndim == 4 else value
    again = oobleck_weights(plain)
    assert all(torch.equal(again[key], value) for key, value in oobleck_weights(official).items())
    shapes = {key: tuple(value.shape) for key, value in plain.items()}
    ours = {key: tuple(value.shape) for key, value in again.items()}
    assert oobleck_shapes(ours, shapes) == shapes
    assert oobleck_arguments(shapes)["width"] == 16


def test_folded_normalisation_equals_that_of_torch():
    torch.manual_seed(0)
    for layer in (torch.nn.Conv1d(3, 5, 7), torch.nn.ConvTranspose1d(3, 5, 4)):
        plain = layer.weight.detach().clone()
        normed = torch.nn.utils.parametrizations.weight_norm(layer)
        with torch.no_grad():
            normed.parametrizations.weight.original0.mul_(2.5)
        ours = oobleck_weights({f"x.{key}": value for key, value in normed.state_dict().items()})["x.weight"]
        assert torch.allclose(ours.squeeze(2), normed.weight, atol=1e-7)
        assert torch.allclose(ours.squeeze(2), 2.5 * plain, atol=1e-6)


def test_missing_half_of_a_normalised_weight_is_reported(official):
    missing = "decoder.layers.0.weight_g"
    del official[missing]
    with pytest.raises(KeyError, match=missing):
        oobleck_weights(official)
    assert other_part("bias") == "bias"
