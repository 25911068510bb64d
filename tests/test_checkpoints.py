import json
from pathlib import Path

import pytest
import torch

from prismaudio.autoencoders.parametric_stereo import ParametricStereoAutoencoder
from prismaudio.checkpoints import Configured, load_components, save_components
from prismaudio.encoders.plan_grid import PlanGridEncoder
from prismaudio.errors import CheckpointError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    codec = ParametricStereoAutoencoder(components=3)
    codec.mean.normal_()
    save_components(tmp_path / "model", {"autoencoder": codec, "plan_encoder": PlanGridEncoder(["bell"])})
    return tmp_path / "model"


def test_what_is_saved_is_loaded(folder: Path) -> None:
    first, again = load_components(folder), load_components(folder)
    assert first["plan_encoder"].classes == ["bell"]
    assert first["autoencoder"].components == 3
    assert first["autoencoder"].mean.std() > 0.5
    torch.testing.assert_close(first["autoencoder"].mean, again["autoencoder"].mean)
    assert not first["autoencoder"].training


def test_half_precision_is_close_and_comes_back_in_full(folder: Path) -> None:
    full = load_components(folder)
    save_components(folder, full, half=["autoencoder"])
    half = load_components(folder)["autoencoder"]
    assert half.mean.dtype == torch.float32
    torch.testing.assert_close(half.mean, full["autoencoder"].mean, rtol=1e-3, atol=1e-3)


def test_a_folder_that_is_no_checkpoint(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="is missing"):
        load_components(tmp_path)


def test_a_truncated_file(folder: Path) -> None:
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    with pytest.raises(CheckpointError, match="damaged"):
        load_components(folder)


def test_weights_of_another_shape_are_listed(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    config["components"]["autoencoder"]["arguments"]["components"] = 4
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(CheckpointError, match=r"basis is \(3, 514\), expected \(4, 514\)"):
        load_components(folder)


@pytest.mark.parametrize("target", ["os:system", "subprocess:Popen"])
def test_a_checkpoint_cannot_name_any_class(folder: Path, target: str) -> None:
    config = json.loads((folder / "config.json").read_text())
    config["components"]["autoencoder"]["class"] = target
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(CheckpointError, match="no installed plugin provides"):
        load_components(folder)


def test_the_most_derived_arguments_are_remembered() -> None:
    class Base(Configured):
        def __init__(self, size: int) -> None:
            self.size = size

    class Derived(Base):
        def __init__(self, name: str = "x") -> None:
            super().__init__(5)
            self.name = name

    assert Derived().config == {"name": "x"}
    assert Base(2).config == {"size": 2}
