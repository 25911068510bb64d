from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from prismaudio.cli.main import main
from prismaudio.inference import PrismAudio
from prismaudio.weight_files import below

DATA = Path(__file__).parents[1] / "golden" / "data"
TRANSFORMER = below(load_file(DATA / "dit_a.safetensors"), "w/")
AUTOENCODER = below(load_file(DATA / "vae_a.safetensors"), "w/")


@pytest.fixture
def files(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.save(TRANSFORMER | {f"pretransform.model.{k}": v for k, v in AUTOENCODER.items()}, "prismaudio.ckpt")
    torch.save({"state_dict": {f"autoencoder.{k}": v for k, v in AUTOENCODER.items()}}, "vae.ckpt")
    save_file({key: value.bfloat16() for key, value in TRANSFORMER.items()}, "bf16.safetensors")
    return tmp_path


def fails(capsys, *argv):
    """The one line that a command ends with."""
    assert main([*map(str, argv)]) == 2
    err = capsys.readouterr().err
    assert err.startswith("prismaudio: error: ")
    assert err.count("\n") == 1
    return err


def test_a_checkpoint_becomes_a_model_folder(files, capsys):
    assert main(["convert", "prismaudio.ckpt", "model"]) == 0
    assert "transformer 871,872, autoencoder 622,320 parameters" in capsys.readouterr().err
    assert sorted(path.name for path in (files / "model").iterdir()) == ["config.json", "model.safetensors"]
    model = PrismAudio.from_pretrained("model")
    assert model.autoencoder.sample_rate_hz == 44_100
    assert "already" in fails(capsys, "convert", "prismaudio.ckpt", "model")
    assert main(["convert", "prismaudio.ckpt", "model", "--force"]) == 0


def test_parts_may_come_one_by_one(files, capsys):
    assert main(["convert", "bf16.safetensors", "first"]) == 0
    assert "it has no autoencoder, so it cannot generate audio yet" in capsys.readouterr().err
    assert "lacks autoencoder" in fails(capsys, "generate", "--prompt", "x", "--duration", "1", "--model", "first")
    assert main(["convert", "first", "second", "--vae", "vae.ckpt", "--half", "bf16"]) == 0
    with safe_open(files / "second" / "model.safetensors", "pt") as file:
        dtypes = {key.partition(".")[0]: file.get_slice(key).get_dtype() for key in file.keys()}  # noqa: SIM118
    assert dtypes == {"transformer": "BF16", "autoencoder": "F32"}
    whole = PrismAudio.from_pretrained("second").transformer.state_dict()
    first = torch.load("prismaudio.ckpt", weights_only=True)["model.model.transformer.project_in.weight"]
    assert torch.equal(whole["project_in.weight"], first.bfloat16().float())


def test_an_autoencoder_beside_a_folder_must_be_one_and_fit(files, capsys):
    save_file(TRANSFORMER, "transformer.safetensors")
    small = below(load_file(DATA / "vae_b.safetensors"), "w/")
    save_file({f"autoencoder.{k}": v for k, v in small.items()}, "small.safetensors")
    main(["convert", "prismaudio.ckpt", "model"])
    capsys.readouterr()
    for vae, words in {"transformer": "contains no autoencoder", "small": "use files of the same model"}.items():
        assert words in fails(capsys, "convert", "model", "other", "--vae", f"{vae}.safetensors")
        assert not Path("other").exists()


def test_eight_bits_are_weights_too(files, capsys):
    small = {k: v if "inv_freq" in k else v.to(torch.float8_e4m3fn) for k, v in TRANSFORMER.items()}
    save_file(small, "fp8.safetensors")
    assert main(["convert", "fp8.safetensors", "model"]) == 0


def test_one_odd_layer_is_listed(files, capsys):
    name = "model.model.transformer.layers.0.self_attn.q_norm.weight"
    save_file(TRANSFORMER | {name: torch.ones(7)}, "odd.safetensors")
    assert f"{name} is (7,), expected (64,)" in fails(capsys, "convert", "odd.safetensors", "model")


def test_a_model_without_encoders_says_who_brings_them(files, capsys):
    main(["convert", "prismaudio.ckpt", "model"])
    capsys.readouterr()
    err = fails(capsys, "generate", "--prompt", "a bell", "--duration", "1", "--model", "model", "--device", "cpu")
    assert "no encoder for video (prismaudio-videoprism), sync (prismaudio-synchformer)" in err


def test_nothing_is_written_unless_all_fits(files, capsys):
    broken = dict(torch.load("prismaudio.ckpt", weights_only=True))
    broken["model.model.extra"] = broken.pop("model.model.to_cond_embed.0.weight")
    torch.save(broken, "broken.ckpt")
    err = fails(capsys, "convert", "broken.ckpt", "model")
    assert "missing model.model.to_cond_embed.0.weight" in err
    assert "unknown model.model.extra" in err
    assert not (files / "model").exists()


class Harmful:
    def __reduce__(self):
        return (open, ("was_run", "w"))


def truncated(name):
    Path(name).write_bytes(Path("prismaudio.ckpt").read_bytes()[:-1000])


BAD = {
    "nothing": (lambda name: None, "no model at x; expected"),
    "empty": (lambda name: Path(name).touch(), "is empty"),
    "truncated": (truncated, "truncated"),
    "code": (lambda name: torch.save({"a": Harmful()}, name), "pickled code, which is not executed"),
    "text": (lambda name: Path(name).write_text("a text, and a long one"), "not a weight file"),
    "list": (lambda name: torch.save([1], name), "contains a list"),
    "another model": (lambda name: torch.save({"conv1.weight": torch.ones(1)}, name), "not a PrismAudio checkpoint"),
    "a folder": (lambda name: Path(name).mkdir(), "x contains no model; expected the files of a model folder"),
    "another folder": (lambda name: _folder(name, {"format": 1}), "damaged or not a PrismAudio checkpoint"),
}


def _folder(name, config):
    Path(name).mkdir()
    (Path(name) / "config.json").write_text(json.dumps(config))
    save_file({"a": torch.ones(1)}, Path(name) / "model.safetensors")


@pytest.mark.parametrize("case", BAD)
@pytest.mark.parametrize("place", ["IN", "--vae"])
def test_bad_input(files, capsys, case, place):
    make, words = BAD[case]
    make("x")
    argv = ["convert", "x", "model"] if place == "IN" else ["convert", "prismaudio.ckpt", "model", "--vae", "x"]
    if place == "--vae":
        words = {"nothing": "no such file", "another model": "contains no autoencoder"}.get(case, words)
        words = "no such file" if "folder" in case else words
    assert words in fails(capsys, *argv)
    assert not (files / "model").exists()
    assert not (files / "was_run").exists()


def test_the_file_of_a_model_is_no_model(files, capsys):
    assert "prismaudio convert prismaudio.ckpt" in fails(capsys, "generate", "x.mp4", "--model", "prismaudio.ckpt")
    Path("taken").write_text("x")
    assert "is a file" in fails(capsys, "convert", "prismaudio.ckpt", "taken")


def test_a_file_that_is_not_there_is_not_looked_for_on_the_hub(files, capsys):
    assert "no such file or folder: weights/prismaudio.ckpt" in fails(capsys, "convert", "weights/prismaudio.ckpt", "x")
