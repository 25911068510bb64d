"""Attention in blocks, layouts of weights, and what is wrong with files that are not VideoPrism's."""

import numpy as np
import pytest
import torch
from transformers.models.videoprism.modeling_videoprism import eager_attention_forward

from prismaudio.errors import CheckpointError
from prismaudio_videoprism import network, weights
from prismaudio_videoprism.network import blocked_attention
from prismaudio_videoprism.weights import load_text_tower, load_video_tower


@pytest.mark.parametrize("limit", [1, 4 * 50 * 7, 1 << 25])
@pytest.mark.parametrize("masked", [False, True])
def test_attention_in_blocks_is_attention(monkeypatch, limit, masked):
    monkeypatch.setattr(network, "MAX_LOGITS", limit)
    query, key, value = torch.randn(3, 2, 4, 50, 8, generator=torch.Generator().manual_seed(0))
    mask = torch.randn(2, 1, 50, 50) if masked else None
    layer = torch.nn.Module()
    layer.num_key_value_groups = 1
    expected, _ = eager_attention_forward(layer, query, key, value, mask, scaling=0.3, softcap=50.0)
    found, _ = blocked_attention(layer, query, key, value, mask, scaling=0.3, softcap=50.0)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)


def test_both_layouts_are_one_network(flax, folder, pixels):
    towers = [load_video_tower(path) for path in (flax, folder)]
    assert towers[0][1] == towers[1][1]
    with torch.no_grad():
        (one, _), (two, _) = (tower(pixels) for tower, _ in towers)
    assert torch.equal(one, two)
    for path in (flax, folder):
        assert load_text_tower(path).model.config.vocab_size == 100


def test_a_folder_that_holds_the_flax_file(flax):
    assert weights.find(flax.parent) == flax


def test_the_published_sizes():
    with torch.device("meta"):
        tower = network.VideoTower(network.vision_config(network.SIZES))
    assert sum(p.numel() for p in tower.parameters()) == pytest.approx(396e6, rel=0.01)


def broken(tmp_path, arrays):
    np.savez(tmp_path / "broken.npz", **arrays)
    return tmp_path / "broken.npz"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda arrays: {"x": np.ones(1)}, "'x' is none of VideoPrism's"),
        (lambda arrays: dict(list(arrays.items())[:1]), "is not VideoPrism's, it lacks"),
        (
            lambda arrays: {name: a for name, a in arrays.items() if "spatial_ln/bias" not in name},
            "does not fit .*layernorm1.bias",
        ),
    ],
)
def test_other_files_are_one_line(golden, tmp_path, change, said):
    arrays = {name[2:]: value for name, value in golden.items() if name.startswith("w/")}
    with pytest.raises(CheckpointError, match=said) as caught:
        load_video_tower(broken(tmp_path, change(arrays)))
    assert "\n" not in str(caught.value)


def test_a_torn_file_is_one_line(flax, tmp_path):
    (tmp_path / "torn.npz").write_bytes(flax.read_bytes()[:1000])
    with pytest.raises(CheckpointError, match=r"cannot read .*torn.npz"):
        load_video_tower(tmp_path / "torn.npz")


def test_a_pickle_in_the_file_is_not_run(tmp_path):
    np.savez(tmp_path / "evil.npz", x=np.array([print], dtype=object))
    with pytest.raises(CheckpointError, match="cannot read"):
        load_video_tower(tmp_path / "evil.npz")


def test_weights_that_are_nowhere_are_one_line(monkeypatch, tmp_path):
    monkeypatch.setenv("PRISMAUDIO_CACHE", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    for given, revision in ((None, None), ("google/videoprism-lvt-large-f8r288", "refs/pr/2")):
        with pytest.raises(CheckpointError, match=r"large.f8r288\S* \(2200 MB") as caught:
            weights.find(given, revision)
        assert "\n" not in str(caught.value)
