from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from published_config import published_dit
from safetensors import safe_open

from prismaudio.errors import CheckpointError
from prismaudio.models.dit import DiffusionTransformer
from prismaudio.models.published import dit_key, dit_weights, published_key, published_shaped

FILE = Path(__file__).parents[1] / "golden/data/dit_a.safetensors"


@pytest.fixture(scope="module")
def official() -> dict[str, torch.Tensor]:
    with safe_open(FILE, "pt") as file:
        return {key.removeprefix("w/"): file.get_tensor(key) for key in file.keys() if key.startswith("w/")}  # noqa: SIM118


@pytest.fixture
def config() -> dict:
    with safe_open(FILE, "pt") as file:
        return json.loads(file.metadata()["config"])


def test_keys_and_shapes_convert_both_ways(official: dict[str, torch.Tensor]) -> None:
    for ours, value in dit_weights(official).items():
        theirs = published_key(ours)
        assert dit_key(theirs) == ours
        assert torch.equal(published_shaped(ours, value), official[theirs])


def test_every_parameter_has_a_published_name(config: dict, official: dict[str, torch.Tensor]) -> None:
    names = {published_key(name) for name in DiffusionTransformer(**published_dit(config)).state_dict()}
    assert names == {name for name in official if dit_key(name) is not None}


def test_the_full_model_has_its_published_size() -> None:
    with torch.device("meta"):
        model = DiffusionTransformer()
    dead = 2 * 1024 + 787_456  # empty features and the unused projection
    assert sum(p.numel() for p in model.parameters()) == 518_188_160 - dead


def test_all_problems_are_reported_at_once(official: dict[str, torch.Tensor]) -> None:
    beta, rotary = "model.model.transformer.layers.1.ff_norm.beta", "model.model.transformer.rotary_pos_emb.inv_freq"
    wrong = {**official, beta: official[beta] + 1, rotary: official[rotary] * 2, "model.odd": torch.ones(1)}
    with pytest.raises(
        CheckpointError, match=r"ff_norm.beta is not zero; .*unexpected rotary rates; unknown model.odd"
    ):
        dit_weights(wrong)


def test_narrow_contexts_share_their_heads(config: dict) -> None:
    config["conditioning"]["configs"][0]["config"]["output_dim"] = 64
    config["conditioning"]["configs"][1]["config"]["output_dim"] = 64
    config["diffusion"]["config"]["cond_token_dim"] = 64
    arguments = published_dit(config)
    assert {name: conditioner.token_dim for name, conditioner in arguments["streams"].items()} == {
        "video": 64,
        "sync": 128,
        "text": 64,
    }
    model = DiffusionTransformer(**arguments)
    assert model.blocks[0].cross_attention.to_kv.weight.shape == (128, 64)
    one, two = model.blocks[0].cross_attention.keys_and_values(torch.randn(1, 3, 64))
    assert one.shape == two.shape == (1, 2, 3, 64)
    assert torch.equal(one[:, 0], one[:, 1])
