import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from prismaudio.autoencoders.parametric_stereo import ParametricStereoAutoencoder
from prismaudio.checkpoints import Configured, check_target, load_components, save_components
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


def test_what_is_replaced_is_not_looked_at_and_what_is_kept_stays_as_it_is_stored(folder: Path) -> None:
    save_components(folder, load_components(folder), half=["autoencoder"])
    config = json.loads((folder / "config.json").read_text())
    config["components"]["plan_encoder"] = {"class": "prismaudio.gone:Older", "arguments": {}}
    (folder / "config.json").write_text(json.dumps(config))
    check_target(folder)
    save_components(folder, {"plan_encoder": PlanGridEncoder(["drum"])}, beside=True)
    assert load_file(folder / "model.safetensors")["autoencoder.mean"].dtype == torch.float16
    assert load_components(folder)["plan_encoder"].classes == ["drum"]


def test_a_folder_that_cannot_be_used_is_told_before_the_work(folder: Path) -> None:
    check_target(folder)
    check_target(folder / "deeper" / "still")
    assert not (folder / "deeper").exists()
    for target in (folder / "config.json", folder / "config.json" / "model"):
        with pytest.raises(CheckpointError, match="cannot write a model to"):
            check_target(target)
    (folder / "model.safetensors").write_bytes(b"{}")
    with pytest.raises(CheckpointError, match="damaged"):
        check_target(folder)


@pytest.mark.parametrize(
    "change",
    [
        lambda config: config.update(components=[1]),
        lambda config: config.update(components="x"),
        lambda config: config["components"].update(autoencoder="x"),
        lambda config: config["components"]["autoencoder"].pop("arguments"),
        lambda config: config["components"]["autoencoder"].pop("class"),
        lambda config: config["components"]["autoencoder"]["arguments"].update(components=-1),
        lambda config: config.update(format=99),
    ],
)
def test_a_config_that_was_changed_by_hand(folder: Path, change: Callable[[dict[str, Any]], None]) -> None:
    config = json.loads((folder / "config.json").read_text())
    change(config)
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(CheckpointError):
        load_components(folder)


def test_a_folder_may_name_the_classes_of_trusted_packages_only(
    folder: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "strange_plugin.py").write_text("class Codec:\n    def __init__(self): ...\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    config = json.loads((folder / "config.json").read_text())
    config["components"] = {"video_encoder": {"class": "strange_plugin:Codec", "arguments": {}}}
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(CheckpointError, match="strange_plugin"):
        load_components(folder)
    monkeypatch.setattr("prismaudio.checkpoints.TRUSTED", {"prismaudio", "strange_plugin"})
    assert type(load_components(folder)["video_encoder"]).__name__ == "Codec"
