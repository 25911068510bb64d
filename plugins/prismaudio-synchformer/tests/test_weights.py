"""Files of weights: the published names, and what is wrong with files that are not those."""

import gzip
import json
from pathlib import Path

import pytest
import torch
from parity import published_shapes
from safetensors.torch import save_file

from prismaudio.errors import CheckpointError
from prismaudio_synchformer import weights
from prismaudio_synchformer.encoder import SynchformerEncoder
from prismaudio_synchformer.reward import SynchformerReward
from prismaudio_synchformer.visual import VisualTower

DATA = Path(__file__).with_name("data")
TOWER = (24, 1, 2)


class Settings:
    """Stands for the objects in the file of the authors."""


@pytest.fixture
def visual():
    """Weights of a visual tower by their published names, with what nothing uses."""
    torch.manual_seed(0)
    official = {f"vfeat_extractor.{key}": value for key, value in VisualTower(*TOWER).state_dict().items()}
    return official | {"vfeat_extractor.patch_embed.proj.weight": torch.ones(24, 3, 16, 16)}


def test_the_network_has_all_published_weights_and_no_others():
    listed = published_shapes(DATA / "synchformer_24-01-04T16-39-21.json.gz")
    assert len(listed) == 513
    expected = {weights.our_key(key): shape for key, shape in listed.items()}
    assert len(expected) == 513
    found = {key: tuple(value.shape) for key, value in weights.empty_network().state_dict().items()}
    unused = {key for key in expected if key.startswith("vfeat_extractor.patch_embed.proj.")}
    assert found == {key: shape for key, shape in expected.items() if key not in unused}
    assert len(unused) == 2


def test_the_encoder_has_all_published_weights_of_the_visual_part():
    entries = json.loads(gzip.decompress((DATA / "manifest_synchformer_vfeat.json.gz").read_bytes()))["entries"]
    listed = {about["key"]: tuple(about["shape"]) for about in entries}
    found = {f"vfeat_extractor.{key}": tuple(v.shape) for key, v in SynchformerEncoder("").state_dict().items()}
    assert len(listed) == len(found) + 2 == 238
    assert found.items() <= listed.items()


@pytest.mark.parametrize("suffix", [".pth", ".pt", ".safetensors"])
def test_the_encoder_loads_any_of_the_files_and_ignores_other_parts(visual, tmp_path, suffix):
    stored = visual | {"afeat_extractor.x": torch.ones(1), "vproj.weight": torch.ones(2, 2)}
    path = tmp_path / f"weights{suffix}"
    if suffix == ".safetensors":
        save_file(dict(reversed(stored.items())), path)
    else:
        torch.save({"model": stored, "epoch": 3} if suffix == ".pt" else stored, path)
    encoder = SynchformerEncoder(str(path), *TOWER)
    assert torch.equal(encoder.pos_embed, visual["vfeat_extractor.pos_embed"])
    assert not encoder.training
    assert not any(parameter.requires_grad for parameter in encoder.parameters())


def test_a_file_with_objects_in_it_is_not_run(visual, tmp_path):
    torch.save({"model": visual, "args": Settings()}, tmp_path / "24-01-04T16-39-21.pt")
    with pytest.raises(CheckpointError, match=r"pickled code, which is not executed .*save only the tensors"):
        SynchformerEncoder(str(tmp_path / "24-01-04T16-39-21.pt"), *TOWER)


@pytest.mark.parametrize("kind", [SynchformerReward, SynchformerEncoder])
def test_a_checkpoint_of_another_model_does_not_fit(kind, tmp_path):
    torch.save({"encoder.layer.weight": torch.ones(2, 2)}, tmp_path / "other.pth")
    with pytest.raises(CheckpointError, match=r"other.pth .*vfeat_extractor") as caught:
        kind(str(tmp_path / "other.pth"))
    assert "\n" not in str(caught.value)


def test_a_tower_of_another_size_does_not_fit(visual, tmp_path):
    torch.save(visual, tmp_path / "small.pth")
    with pytest.raises(CheckpointError, match=r"small.pth does not fit .*pos_embed is .*24.*expected .*768"):
        SynchformerEncoder(str(tmp_path / "small.pth"), dim=768)


def test_sizes_are_read_from_the_weights(visual, tmp_path):
    torch.save(visual, tmp_path / "small.pth")
    encoder = SynchformerEncoder(str(tmp_path / "small.pth"), num_heads=TOWER[2])
    assert encoder.config == {"weights": "", **dict(zip(("dim", "depth", "num_heads"), TOWER, strict=True))}
    assert SynchformerEncoder("").config == {"weights": "", "dim": 768, "depth": 12, "num_heads": 12}


def test_the_visual_part_alone_is_not_enough_for_the_reward(visual, tmp_path):
    torch.save(visual, tmp_path / "visual.pth")
    with pytest.raises(CheckpointError, match=r"visual\.pth contains only the visual tower"):
        SynchformerReward(str(tmp_path / "visual.pth"))


@pytest.mark.parametrize("kind", [SynchformerReward, SynchformerEncoder])
def test_what_is_missing_is_said_in_one_line(kind, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(CheckpointError, match=r"synchformer_state_dict.pth \(950 MB, licence .*put it at .*") as caught:
        kind()
    assert "\n" not in str(caught.value)


def test_the_known_place_is_looked_at_first(visual, cache):
    (cache / "weights").mkdir(parents=True)
    torch.save(visual, cache / "weights" / "synchformer_state_dict.pth")
    assert SynchformerEncoder(None, *TOWER).dim == 24
