from pathlib import Path

import pytest
import torch
from parity import published_shapes, recipe_weight
from safetensors.torch import save_file

from prismaudio.errors import CheckpointError
from prismaudio_audiobox.network import AudioboxNetwork
from prismaudio_audiobox.rating import Rater
from prismaudio_audiobox.weights import SCALES, load_published, our_name

MANIFEST = Path(__file__).with_name("data") / "audiobox_aesthetics.json.gz"
QUALITY = "proj_layer.PQ.12.bias"


@pytest.fixture(scope="module")
def weights():
    """Tensors of the published shapes that take no time to make."""
    made = {key: torch.zeros(shape) for key, shape in published_shapes(MANIFEST).items()}
    return made | {QUALITY: recipe_weight(QUALITY, (1,), 1)}


def test_the_324_published_tensors_are_those_of_the_network():
    with torch.device("meta"):
        network = AudioboxNetwork()
    ours = {key: tuple(value.shape) for key, value in network.state_dict().items()}
    assert {our_name(key): shape for key, shape in published_shapes(MANIFEST).items()} == ours
    assert len(ours) == 324


def test_the_file_of_the_hub_is_read(weights, tmp_path):
    save_file(weights, tmp_path / "model.safetensors")
    network, scales = load_published(str(tmp_path))
    assert torch.equal(network.proj_layer["PQ"][12].bias, weights[QUALITY])
    assert scales == SCALES
    assert not network.training
    assert not any(value.is_meta for value in [*network.parameters(), *network.buffers()])


def test_the_checkpoint_of_the_authors_is_read_with_its_scales(weights, tmp_path):
    path = tmp_path / "checkpoint.pt"
    content = {
        "state_dict": {f"model.{key}": value for key, value in weights.items()},
        "model_cfg": {"proj_num_layer": 5, "precision": "32"},
        "target_transform": {axis: {"mean": 4.0, "std": 2.0} for axis in SCALES},
    }
    torch.save(content, path)
    rater = Rater(str(path))
    assert torch.equal(rater.network.proj_layer["PQ"][12].bias, weights[QUALITY])
    assert rater.scales.tolist() == [[4.0] * 4, [2.0] * 4]
    torch.save(content | {"target_transform": {"CE": 3}}, path)
    with pytest.raises(CheckpointError, match="does not state mean and std of CE, CU, PC, PQ"):
        load_published(str(path))


def test_weights_of_another_network_are_refused_in_a_line(weights, tmp_path):
    path = tmp_path / "model.safetensors"
    save_file({key: value for key, value in weights.items() if key != QUALITY} | {"other": torch.ones(1)}, path)
    with pytest.raises(CheckpointError, match=f"missing {QUALITY}; unknown other"):
        load_published(str(path))


def test_missing_weights_are_explained_in_a_line(tmp_path, monkeypatch):
    monkeypatch.setenv("PRISMAUDIO_CACHE", str(tmp_path))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(CheckpointError, match=r"audiobox-aesthetics\.safetensors.*CC-BY-4\.0.*put it at") as caught:
        load_published()
    assert "\n" not in str(caught.value)
    with pytest.raises(CheckpointError, match="no such file"):
        load_published(str(tmp_path / "checkpoint.pt"))
