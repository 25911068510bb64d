from pathlib import Path

import pytest
import torch
from parity import published_shapes, recipe_weights
from safetensors.torch import save_file

from prismaudio.errors import CheckpointError
from prismaudio_stereocrw.network import CrwNetwork, load_network

MANIFEST = Path(__file__).with_name("data") / "stereocrw_FreeMusic-StereoCRW-1024.json.gz"


@pytest.fixture(scope="module")
def weights():
    return recipe_weights(published_shapes(MANIFEST), 1)


def test_the_network_has_the_tensors_of_the_published_one(weights):
    assert {key: value.shape for key, value in CrwNetwork().state_dict().items()} == {
        key: value.shape for key, value in weights.items()
    }


@pytest.mark.parametrize("legacy", [True, False])
def test_the_published_file_is_read(weights, tmp_path, legacy):
    path = tmp_path / "FreeMusic-StereoCRW-1024.pth.tar"
    state = {f"module.{key}": value for key, value in weights.items()}
    content = {"epoch": 199, "state_dict": state, "optimizer": {"state": {}, "param_groups": [{"lr": 1e-4}]}}
    torch.save(content, path, _use_new_zipfile_serialization=not legacy)
    for given in (path, tmp_path):
        network = load_network(str(given))
        assert not network.training
        assert torch.equal(
            network.net.layer3[0].downsample[1].running_var, weights["net.layer3.0.downsample.1.running_var"]
        )


def test_safetensors_are_read_and_weights_of_another_network_are_refused(weights, tmp_path):
    path = tmp_path / "weights.safetensors"
    save_file(weights, path)
    assert torch.equal(load_network(str(path)).net.fc.bias, weights["net.fc.bias"])
    save_file({key: value for key, value in weights.items() if "layer4" not in key} | {"x": torch.ones(1)}, path)
    with pytest.raises(CheckpointError, match=r"missing net\.layer4") as caught:
        load_network(str(path))
    assert "unknown x" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_missing_weights_are_explained_in_a_line(tmp_path, monkeypatch):
    monkeypatch.setenv("PRISMAUDIO_CACHE", str(tmp_path))
    with pytest.raises(CheckpointError, match=r"FreeMusic-StereoCRW-1024.pth.tar.*60 MB.*licence.*put it at") as caught:
        load_network()
    assert "\n" not in str(caught.value)
