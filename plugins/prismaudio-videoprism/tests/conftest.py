import json
from pathlib import Path

import numpy as np
import pytest
import torch

DATA = Path(__file__).with_name("data")


@pytest.fixture(scope="session")
def golden():
    with np.load(DATA / "videoprism_lvt_tiny.npz") as file:
        return {name: file[name] for name in file.files}


@pytest.fixture(scope="session")
def flax(golden, tmp_path_factory):
    """The tiny checkpoint in the layout of the published one."""
    path = tmp_path_factory.mktemp("flax") / "flax_lvt_large_f8r288_repeated.npz"
    np.savez(path, **{name[2:]: value for name, value in golden.items() if name.startswith("w/")})
    return path


@pytest.fixture(scope="session")
def folder(flax, tmp_path_factory):
    """The tiny checkpoint in transformers' layout."""
    from transformers import VideoPrismConfig, VideoPrismTextConfig

    from prismaudio.weight_files import save_tensors
    from prismaudio_videoprism import weights
    from prismaudio_videoprism.network import vision_config

    sizes, text, tensors = weights.read(flax)
    target = tmp_path_factory.mktemp("transformers")
    text_config = VideoPrismTextConfig(
        vocab_size=text["vocabulary"], hidden_size=text["dim"], intermediate_size=text["mlp_dim"],
        num_hidden_layers=text["num_layers"], num_attention_heads=text["num_heads"],
    )  # fmt: skip
    VideoPrismConfig(vision_config=vision_config(sizes), text_config=text_config).save_pretrained(target)
    assert json.loads((target / "config.json").read_text())["model_type"] == "videoprism"
    save_tensors(tensors, target / "model.safetensors")
    return target


@pytest.fixture
def pixels(golden):
    return torch.as_tensor(golden["in/frames_uint8"]).permute(0, 1, 4, 2, 3).float() / 255
