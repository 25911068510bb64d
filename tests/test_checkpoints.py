import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from streams import streams

from prismaudio.autoencoders.oobleck import OobleckAutoencoder
from prismaudio.checkpoints import (
    LOADABLE,
    Configured,
    check_target,
    load_components,
    loadable,
    save_components,
    within,
)
from prismaudio.encoders.base import Encoder
from prismaudio.errors import CheckpointError
from prismaudio.models.dit import DiffusionTransformer
from prismaudio.plan import Plan
from prismaudio.registry import discover
from prismaudio.types import Clip

WEIGHT = "decoder.0.weight"


class GridEncoder(Configured, Encoder):
    """One with an argument that must be given."""

    def __init__(self, classes: Sequence[str], rate_hz: float = 62.5) -> None:
        within(0.1, 1000, rate_hz=rate_hz)
        self.classes, self.rate_hz, self.dim = classes, rate_hz, len(classes)

    def encode(self, clip: Clip, plan: Plan) -> torch.Tensor:
        return torch.zeros(0, self.dim)


@pytest.fixture(autouse=True)
def _installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(LOADABLE, f"{__name__}:GridEncoder", "encoders")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    codec = OobleckAutoencoder(2, (1,), (4,), latent_channels=3)
    save_components(tmp_path / "model", {"autoencoder": codec, "plan_encoder": GridEncoder(["bell"])})
    return tmp_path / "model"


def weight(codec: OobleckAutoencoder) -> torch.Tensor:
    return codec.get_parameter(WEIGHT)


def test_what_is_saved_is_loaded(folder: Path) -> None:
    first, again = load_components(folder), load_components(folder)
    assert first["plan_encoder"].classes == ["bell"]
    assert first["autoencoder"].channels == 3
    assert weight(first["autoencoder"]).std() > 0.1
    assert torch.equal(weight(first["autoencoder"]), weight(again["autoencoder"]))
    assert not first["autoencoder"].training


class Library(Configured, Encoder):
    """One with files of its own."""

    files_argument = "folder"
    not_in_folders = frozenset({"place"})

    def __init__(self, folder: str, place: str = "", size: int = 1) -> None:
        self.folder, self.place, self.size, self.dim, self.rate_hz = folder, place, size, size, None

    def save_files(self, folder: Path) -> dict[str, Any]:
        if self.place == "full":
            raise OSError("no space left")
        folder.mkdir()
        (folder / "words.txt").write_text(self.place)
        return {"size": 7}

    def encode(self, clip: Clip, plan: Plan) -> torch.Tensor:
        return torch.zeros(0, self.dim)


def test_files_of_a_component_are_in_a_folder_of_its_name(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(LOADABLE, f"{__name__}:Library", "encoders")
    for place in ("first", "second"):
        save_components(folder, {"text_encoder": Library("elsewhere", place, 2)}, beside=True)
        found = load_components(folder)
        assert set(found) == {"autoencoder", "plan_encoder", "text_encoder"}
        assert found["text_encoder"].config == {"folder": str(folder / "text_encoder"), "place": "", "size": 7}
        assert (folder / "text_encoder" / "words.txt").read_text() == place
    with pytest.raises(OSError, match="no space"):  # and what was there stays
        save_components(folder, {"text_encoder": Library("elsewhere", "full", 3)}, beside=True)
    assert load_components(folder)["text_encoder"].size == 7
    assert sorted(path.name for path in folder.iterdir()) == ["config.json", "model.safetensors", "text_encoder"]


@pytest.mark.parametrize("place", ["/etc", "..", "other", 3])
def test_files_of_a_component_are_nowhere_else(place: object, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(LOADABLE, f"{__name__}:Library", "encoders")
    save_components(folder, {"text_encoder": Library("elsewhere")}, beside=True)
    changed(folder, lambda parts: parts["text_encoder"]["arguments"].update(folder=place))
    assert "expected" in refusal(folder)
    assert "components.text_encoder.arguments.folder is" in refusal(folder)


class Reader(Configured, Encoder):
    """One that has a part with files."""

    def __init__(self, library: Library) -> None:
        self.library, self.dim, self.rate_hz = library, 1, None

    def encode(self, clip: Clip, plan: Plan) -> torch.Tensor:
        return torch.zeros(0, self.dim)


def test_a_part_of_a_component_has_no_files_from_a_disk(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("Library", "Reader"):
        monkeypatch.setitem(LOADABLE, f"{__name__}:{name}", "encoders")
    save_components(folder, {"text_encoder": Reader(Library("owner/words"))}, beside=True)
    assert load_components(folder)["text_encoder"].library.folder == "owner/words"
    save_components(folder, {"text_encoder": Reader(Library("/etc"))}, beside=True)
    assert "arguments.library.arguments.folder is a place on a disk; expected owner/name on the hub" in refusal(folder)


def test_half_precision_is_close_and_comes_back_in_full(folder: Path) -> None:
    full = load_components(folder)
    save_components(folder, full, half=["autoencoder"])
    half = load_components(folder)["autoencoder"]
    assert weight(half).dtype == torch.float32
    torch.testing.assert_close(weight(half), weight(full["autoencoder"]), rtol=1e-3, atol=1e-3)


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
    config["components"]["autoencoder"]["arguments"]["latent_channels"] = 4
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(CheckpointError, match=r"weight is \(2, 3, 1, 7\), expected \(2, 4, 1, 7\)"):
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
    save_components(folder, {"plan_encoder": GridEncoder(["drum"])}, beside=True)
    assert load_file(folder / "model.safetensors")[f"autoencoder.{WEIGHT}"].dtype == torch.float16
    assert load_components(folder)["plan_encoder"].classes == ["drum"]


def test_a_folder_that_cannot_be_used_is_reported_before_the_work(folder: Path) -> None:
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
        lambda config: config["components"]["autoencoder"]["arguments"].update(latent_channels=-1),
        lambda config: config.update(format=99),
    ],
)
def test_a_config_that_was_changed_by_hand(folder: Path, change: Callable[[dict[str, Any]], None]) -> None:
    config = json.loads((folder / "config.json").read_text())
    change(config)
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(CheckpointError):
        load_components(folder)


def changed(folder: Path, change: Callable[[dict[str, Any]], object]) -> Path:
    """The folder, with other components in its config.json."""
    config = json.loads((folder / "config.json").read_text())
    change(config["components"])
    (folder / "config.json").write_text(json.dumps(config))
    return folder


def refusal(folder: Path) -> str:
    """The one line that loading a folder ends with."""
    with pytest.raises(CheckpointError) as caught:
        load_components(folder)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 3000
    return str(caught.value)


PLUGIN = """
from pathlib import Path
Path(__file__).with_name("imported").touch()
from prismaudio.checkpoints import Configured
class Codec(Configured):
    def __init__(self): ...
"""


def test_a_folder_names_only_what_hooks_name_and_nothing_else_is_imported(
    folder: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "strange_plugin.py").write_text(PLUGIN)
    monkeypatch.syspath_prepend(str(tmp_path))
    changed(folder, lambda parts: parts.update(x_encoder={"class": "strange_plugin:Codec", "arguments": {}}))
    assert "strange_plugin" in refusal(folder)
    assert not (tmp_path / "imported").exists()
    monkeypatch.setitem(LOADABLE, "strange_plugin:Codec", "encoders")
    assert type(load_components(folder)["x_encoder"]).__name__ == "Codec"
    changed(folder, lambda parts: parts.update(sampler=parts.pop("x_encoder")))
    assert "is a Codec, one of the encoders; expected one of the samplers" in refusal(folder)


def test_a_hook_may_name_a_class_where_it_is_imported_from(
    folder: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    package = tmp_path / "split_plugin"
    package.mkdir()
    (package / "inner.py").write_text(PLUGIN)
    (package / "__init__.py").write_text("from split_plugin.inner import Codec\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setitem(LOADABLE, "split_plugin:Codec", "encoders")
    changed(folder, lambda parts: parts.update(x_encoder={"class": "split_plugin.inner:Codec", "arguments": {}}))
    assert type(load_components(folder)["x_encoder"]).__module__ == "split_plugin.inner"


@pytest.mark.parametrize(
    ("target", "arguments"),
    [
        ("prismaudio.cli.main:main", {"argv": ["--version"]}),
        ("prismaudio.cli.main:import_module", {"name": "this"}),
        ("prismaudio.media.files:make_writable", {"folder": "made"}),
        ("prismaudio.media.files:os.system", {"command": "touch made"}),
        ("prismaudio.types:Clip", {"id": "a", "duration_s": 1.0}),
        ("prismaudio.samplers.base:EulerSampler", {}),
        ("prismaudio.training.transformer:EulerSampler", {}),  # where it is imported, not where it is
        ("prismaudio.samplers.euler:EulerSampler.sample", {}),
        ("prismaudio.rewards.temporal:TemporalReward", {}),
        ("prismaudio", {}),
        (":", {}),
        (["prismaudio.samplers.euler:EulerSampler"], {}),
        (None, {}),
    ],
)
def test_nothing_but_listed_classes_is_called(
    folder: Path, target: object, arguments: dict[str, Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    changed(folder, lambda parts: parts.update(sampler={"class": target, "arguments": arguments}))
    assert "which no installed plugin provides" in refusal(folder)
    assert not (tmp_path / "made").exists()


@pytest.mark.parametrize(
    ("part", "arguments", "words"),
    [
        (
            "autoencoder",
            {"latent_channels": "3"},
            "components.autoencoder.arguments.latent_channels is '3'; expected int",
        ),
        ("autoencoder", {"latent_channels": 3.0}, "expected int"),
        ("autoencoder", {"latent_channels": True}, "expected int"),
        ("autoencoder", {"latent_channels": [3]}, "expected int"),
        ("autoencoder", {"latent_channels": 10**400}, "expected int"),
        ("autoencoder", {"latent_channels": 10**9}, "expected 1 to 65536"),
        (
            "autoencoder",
            {"wavelet": 3},
            "'wavelet', which OobleckAutoencoder does not take",
        ),
        ("autoencoder", {"self": 3}, "which OobleckAutoencoder does not take"),
        ("plan_encoder", {}, "lacks classes"),
        ("plan_encoder", {"classes": {"bell": 1}}, "expected Sequence[str]"),
        ("plan_encoder", {"classes": "bell"}, "is 'bell'; expected Sequence[str]"),
        ("plan_encoder", {"classes": ["bell", 3]}, "expected Sequence[str]"),
        ("plan_encoder", {"classes": ["\ud800"]}, "expected Sequence[str]"),
        ("plan_encoder", {"classes": ["bell"], "rate_hz": 1e999}, "Infinity"),
        ("plan_encoder", {"classes": ["bell"], "rate_hz": float("nan")}, "NaN"),
        ("plan_encoder", {"classes": ["bell"], "rate_hz": 1e300}, "rate_hz is 1e+300; expected 0.1 to 1000"),
    ],
)
def test_arguments_are_of_the_types_that_a_class_declares(
    folder: Path, part: str, arguments: dict[str, Any], words: str
) -> None:
    said = refusal(changed(folder, lambda parts: parts[part].update(arguments=arguments)))
    assert words in said
    assert "config.json" in said


@pytest.mark.parametrize(
    "sizes", [{"depth": 10**6}, {"depth": 10**18}, {"dim": 2**20}, {"num_heads": 0}, {"num_heads": 3}]
)
def test_networks_larger_than_their_weights_take_no_memory(tmp_path: Path, sizes: dict[str, int]) -> None:
    network = DiffusionTransformer(4, dim=32, depth=1, num_heads=1, streams=streams(32, video=8, text=8))
    save_components(tmp_path, {"transformer": network})
    assert load_components(tmp_path)["transformer"].config["depth"] == 1
    assert "transformer" in refusal(changed(tmp_path, lambda parts: parts["transformer"]["arguments"].update(sizes)))
    assert torch.is_grad_enabled()


@pytest.mark.parametrize(
    "text",
    [
        "[" * 100_000,
        '{"components": ' + '{"a":' * 5000,
        "9" * 5000,
        "\ufeff{}",
        "[]",
        "null",
        '{"components": {}, "x": 1}',
    ],
)
def test_json_that_is_none_or_deep(folder: Path, text: str) -> None:
    (folder / "config.json").write_text(text)
    assert "config.json" in refusal(folder)


def test_files_that_never_end_are_not_read(folder: Path) -> None:
    (folder / "config.json").unlink()
    (folder / "config.json").symlink_to("/dev/zero")
    assert "is missing" in refusal(folder)


def test_the_classes_that_may_be_named_are_those_of_the_cores_hooks() -> None:
    named = loadable(discover().components())
    assert {*named} >= {*LOADABLE} - {f"{__name__}:GridEncoder"}
    assert not any("rewards" in target or "metrics" in target for target in LOADABLE)
