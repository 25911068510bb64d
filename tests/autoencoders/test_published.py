from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from prismaudio.autoencoders.oobleck import OobleckAutoencoder
from prismaudio.autoencoders.published import oobleck_arguments, oobleck_weights, other_part

GOLDEN = Path(__file__).parents[1] / "golden" / "data" / "vae_b.safetensors"


@pytest.fixture
def official():
    return {key[2:]: value for key, value in load_file(GOLDEN).items() if key.startswith("w/")}


def renamed(official):
    """The same weights as torch's parametrisation names them."""
    new = {".weight_g": ".parametrizations.weight.original0", ".weight_v": ".parametrizations.weight.original1"}
    return {key[:-9] + new[key[-9:]] if key[-9:] in new else key: value for key, value in official.items()}


def test_both_namings_give_the_same(official):
    first, second = oobleck_weights(official), oobleck_weights(renamed(official))
    assert first.keys() == second.keys()
    assert all(torch.equal(first[key], second[key]) for key in first)


def test_the_arguments_are_read_from_the_shapes(official):
    weights = oobleck_weights(official)
    arguments = oobleck_arguments({key: tuple(value.shape) for key, value in weights.items()})
    assert arguments == {"width": 16, "multipliers": [1, 2, 4], "strides": [2, 4, 4], "latent_channels": 4}
    OobleckAutoencoder(**arguments).load_state_dict(weights)


def test_the_norm_is_multiplied_out_as_torch_does_it():
    torch.manual_seed(0)
    for layer in (torch.nn.Conv1d(3, 5, 7), torch.nn.ConvTranspose1d(3, 5, 4)):
        plain = layer.weight.detach().clone()
        normed = torch.nn.utils.parametrizations.weight_norm(layer)
        with torch.no_grad():
            normed.parametrizations.weight.original0.mul_(2.5)
        ours = oobleck_weights({f"x.{key}": value for key, value in normed.state_dict().items()})["x.weight"]
        assert torch.allclose(ours.squeeze(2), normed.weight, atol=1e-7)
        assert torch.allclose(ours.squeeze(2), 2.5 * plain, atol=1e-6)


def test_half_of_a_normalised_weight_is_missed(official):
    gone = "decoder.layers.0.weight_g"
    del official[gone]
    with pytest.raises(KeyError, match=gone):
        oobleck_weights(official)
    assert other_part("bias") == "bias"
