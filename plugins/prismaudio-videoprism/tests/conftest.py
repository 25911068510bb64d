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
    from transformers import VideoPrismConfig

    from prismaudio.weight_files import save_tensors
    from prismaudio_videoprism.weights import TEXT, VIDEO, read

    configs, tensors = {}, {}
    for prefix in (VIDEO, TEXT):
        configs[prefix], found = read(flax, prefix)
        tensors |= {prefix + key: value for key, value in found.items()}
    target = tmp_path_factory.mktemp("transformers")
    VideoPrismConfig(vision_config=configs[VIDEO], text_config=configs[TEXT]).save_pretrained(target)
    assert json.loads((target / "config.json").read_text())["model_type"] == "videoprism"
    save_tensors(tensors, target / "model.safetensors")
    return target


@pytest.fixture
def pixels(golden):
    return torch.as_tensor(golden["in/frames_uint8"]).permute(0, 1, 4, 2, 3).float() / 255
