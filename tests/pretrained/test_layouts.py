"""Published checkpoints in the layouts of the hub, as folders on this machine, with random weights of reduced size."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

import numpy as np
import published_plugin
import pytest
import torch
from published_layouts import NAMES, layout, write_files
from published_plugin import DIMS, PLAN, made
from safetensors.torch import load_file, save_file

from prismaudio.cli.main import main
from prismaudio.errors import CheckpointError
from prismaudio.inference import PrismAudio
from prismaudio.pretrained import find
from prismaudio.pretrained.layouts import LAYOUTS, MODEL_FOLDER, recognise


@pytest.fixture(params=NAMES)
def folder(request, place):
    write_files(made(request.param), place / "published")
    return place / "published"


@pytest.fixture
def one_folder(place):
    write_files(made(NAMES[0]), place / "published")
    return place / "published"


def audio_of(source):
    model = PrismAudio.from_pretrained(source)
    return model.generate("clip.mp4", plan=PLAN, steps=2, seed=3).audio


def fails(capsys, *argv):
    """The one line that a command ends with."""
    capsys.readouterr()
    assert main([*map(str, argv)]) == 2
    err = capsys.readouterr().err
    assert err.startswith("prismaudio: error: ")
    assert err.count("\n") == 1
    return err


def test_a_folder_is_recognised_and_converted_and_sounds_the_same(folder, capsys):
    audio = audio_of(folder)
    assert audio.std() > 0
    assert main(["convert", str(folder), "model"]) == 0
    assert "transformer" in (said := capsys.readouterr().err)
    assert "encoder for" not in said
    shutil.rmtree("defaults")  # the model folder has the weights of its encoders
    assert torch.equal(audio_of("model"), audio)
    assert set(json.loads(Path("model/config.json").read_text())["components"]) == {
        *("transformer", "autoencoder", "sampler", "settings"),
        *("video_encoder", "sync_encoder", "text_encoder"),
    }


def test_every_file_is_heard(place):
    """Random numbers in place of each file's weights give other audio, so that none is left out."""
    write_files(made(NAMES[1]), place / "published")
    before = audio_of(place / "published")
    for path in [path for path in (place / "published").rglob("*") if path.suffix in (".safetensors", ".npz")]:
        data = path.read_bytes()
        if path.suffix == ".npz":
            np.savez(path, weight=np.ones((DIMS["video"], 3)))
        else:
            save_file({key: value * 1.5 for key, value in load_file(path).items()}, path)
        assert not torch.allclose(audio_of(place / "published"), before, atol=1e-4), path
        path.write_bytes(data)
    assert torch.equal(audio_of(place / "published"), before)


def test_the_autoencoder_is_that_of_its_own_file(place):
    write_files(made(NAMES[0]), place / "published")
    model = PrismAudio.from_pretrained(place / "published")
    write_files({"prismaudio.ckpt": made(NAMES[0])["prismaudio.ckpt"]}, place)
    assert main(["convert", "prismaudio.ckpt", "alone"]) == 0
    alone = find("alone").factories()["autoencoder"]()
    latents = torch.randn(1, 4, 8)
    assert not torch.allclose(model.autoencoder.decode(latents), alone.decode(latents), atol=1e-3)


def test_files_may_lie_beside_the_folders_of_the_encoders(place):
    write_files({path.removeprefix("prismaudio/"): data for path, data in made(NAMES[1]).items()}, place / "flat")
    write_files(made(NAMES[1]), place / "nested")
    assert torch.equal(audio_of(place / "flat"), audio_of(place / "nested"))
    assert find("flat").hash == find("nested").hash


def test_the_identifier_is_a_hash_of_the_files_that_are_used(place, folder):
    used = list(find(folder).paths.values())
    expected = hashlib.sha256(b"".join(path.read_bytes() for path in used)).hexdigest()[:12]
    assert PrismAudio.from_pretrained(folder).name == f"{folder}@{expected}"
    (folder / "README.md").write_text("another page")
    assert find(folder).hash == expected
    used[0].write_bytes(used[0].read_bytes() + b" ")
    assert find(folder).hash != expected


def test_the_identifier_of_a_model_folder_is_what_it_was(tiny_model_folder):
    files = [tiny_model_folder / name for name in ("config.json", "model.safetensors")]
    expected = hashlib.sha256(b"".join(path.read_bytes() for path in files)).hexdigest()[:12]
    assert PrismAudio.from_pretrained(tiny_model_folder).name == f"{tiny_model_folder}@{expected}"


def test_each_component_is_loaded_by_a_function_of_its_own(folder):
    factories = find(folder).factories()
    for name in ("transformer", "autoencoder", "video_encoder"):
        first, again = factories[name](), factories[name]()
        assert first is not again
        for one, other in zip(first.parameters(), again.parameters(), strict=True):
            assert torch.equal(one, other)
            assert one.data_ptr() != other.data_ptr()


def test_without_its_plugin_an_encoder_is_named(one_folder, capsys, monkeypatch):
    monkeypatch.setenv("PUBLISHED_HIDDEN", "T5GemmaEncoder")
    monkeypatch.setenv("PRISMAUDIO_PLUGINS", str(shutil.copy(published_plugin.__file__, "hiding_plugin.py")))
    text = Path("hiding_plugin.py").read_text().replace("published_plugin:", "hiding_plugin:")
    Path("hiding_plugin.py").write_text(text)
    said = fails(capsys, "generate", "clip.mp4", "--plan", PLAN, "--model", one_folder, "--device", "cpu", "-o", "out")
    assert "no encoder for text (prismaudio-t5gemma); install" in said
    assert main(["convert", str(one_folder), "model"]) == 0
    assert "no encoder for text (prismaudio-t5gemma)" in capsys.readouterr().err
    assert not Path("out").exists()


def test_encoders_may_be_left_out_and_half_precision_is_stored(folder, capsys):
    assert main(["convert", str(folder), "model", "--no-encoders", "--half", "bf16"]) == 0
    assert "_encoder" not in (said := capsys.readouterr().err)
    assert "encoder for" not in said
    assert set(find("model").factories()) == {"transformer", "autoencoder", "sampler", "settings"}
    stored = load_file("model/model.safetensors")
    assert stored["transformer.project_in.weight"].dtype == torch.bfloat16
    assert stored["autoencoder.decoder.0.weight"].dtype == torch.float32


def test_a_recipe_trains_from_a_folder(one_folder):
    from prismaudio.training.foundation import FoundationTask

    task = FoundationTask(pretrained=str(one_folder))
    assert task.transformer.config["depth"] == 2
    assert set(task.encoders) == {"video", "sync", "text"}


def test_a_model_is_found_and_benchmarked_by_its_folder(one_folder):
    words = ("--duration", "0.5", "--rounds", "1", "--device", "cpu", "--precision", "fp32", "--no-clip")
    assert main(["bench", "model", "--model", str(one_folder), "--json", "report.json", *words]) == 0
    assert Path("report.json").stat().st_size > 100


# Bad input ------------------------------------------------------------------------------------------------------------
GENERATE = ("generate", "clip.mp4", "--plan", PLAN, "--model", "published", "--device", "cpu", "-o", "out")
CONVERT = ("convert", "published", "out")


def page(path):
    path.write_text("<!DOCTYPE html><html><body>Access to this model is restricted</body></html>")


def truncated(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 9 // 10])


def other_weights(path):
    weights = {"conv1.weight": torch.ones(8, 3, 7, 7)}
    save_file(weights, path) if path.suffix == ".safetensors" else torch.save(weights, path)


def diverged(path):
    weights = load_file(path) if path.suffix == ".safetensors" else torch.load(path, weights_only=True)
    name = next(key for key in weights if key.endswith("project_in.weight"))
    weights[name] = torch.full_like(weights[name], torch.nan)
    save_file(weights, path) if path.suffix == ".safetensors" else torch.save(weights, path)


DAMAGES = {
    "a page": (page, "is not a weight file"),
    "truncated": (truncated, "truncated"),
    "empty": (lambda path: path.write_bytes(b""), "is empty"),
    "another model": (other_weights, "is not a PrismAudio checkpoint"),
    "not finite": (diverged, "NaN or infinity"),
}


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("command", [GENERATE, CONVERT], ids=["generate", "convert"])
def test_a_damaged_file_is_named_and_nothing_is_written(place, capsys, name, damage, command):
    write_files(made(name), place / "published")
    damaging, words = DAMAGES[damage]
    path = find("published").paths[next(one for one in LAYOUTS if one.name == name).transformer]
    damaging(path)
    said = fails(capsys, *command)
    assert words in said
    assert path.name in said
    assert not Path("out").exists()


@pytest.mark.parametrize("damage", ["a page", "truncated", "empty"])
def test_a_damaged_autoencoder_or_encoder_is_named(folder, capsys, damage):
    damaging, words = DAMAGES[damage]
    for name, path in find(folder).paths.items():
        if Path(name).suffix in (".npz", ".json") or "t5gemma" in name:
            continue
        data = path.read_bytes()
        damaging(path)
        said = fails(capsys, *GENERATE)
        assert words in said
        assert path.name in said
        path.write_bytes(data)
    assert not Path("out").exists()


def test_a_missing_file_is_named(folder, capsys):
    for name, path in find(folder).paths.items():
        path.rename("elsewhere")
        said = fails(capsys, *GENERATE)
        assert f"published lacks {name}; expected all files of " in said
        Path("elsewhere").rename(path)


def test_two_models_in_one_folder(place, capsys):
    for name in NAMES[::2]:
        write_files(made(name), place / "published")
    for command in (GENERATE, CONVERT):
        said = fails(capsys, *command)
        assert "published contains two models, prismaudio.ckpt and prismaudio.safetensors; expected one" in said
    assert not Path("out").exists()


def test_a_folder_without_weights(place, capsys):
    write_files({"README.md": b"# A model"}, place / "published")
    for command in (GENERATE, CONVERT):
        said = fails(capsys, *command)
        assert (
            "published contains no model; expected the files of a model folder (model.safetensors, config.json)" in said
        )
        assert all(name in said for name in NAMES)
    assert not Path("out").exists()


def test_files_of_two_models(place, capsys):
    files = made(NAMES[0])
    other = layout(NAMES[0], DIMS | {"sync": DIMS["sync"] + 1}, {"vfeat_extractor.weight": torch.ones(2, 3)})
    write_files(files | {"prismaudio.ckpt": other["prismaudio.ckpt"]}, place / "published")
    for command in (GENERATE, CONVERT):
        said = fails(capsys, *command)
        assert "the sync_encoder computes sync features of dim 5, but the transformer expects 6" in said


def test_a_model_is_not_converted_into_a_folder_with_another(one_folder, capsys):
    assert "of another model; choose another folder" in fails(capsys, "convert", one_folder, one_folder)
    assert not (one_folder / "config.json").exists()


def test_a_plan_does_not_overwrite_a_file_of_the_model(one_folder, capsys):
    path = next(iter(find(one_folder).paths.values()))
    data = path.read_bytes()
    said = fails(capsys, "plan", "clip.mp4", "-o", path, "--model", one_folder, "--force", "--device", "cpu")
    assert "is an input file of this command" in said
    assert path.read_bytes() == data


def test_a_revision_is_of_a_model_on_the_hub(one_folder, capsys):
    assert "applies to models on the hub only" in fails(capsys, *GENERATE, "--revision", "v1")
    Path("x.ckpt").write_bytes(b"x")
    assert "applies to models on the hub only" in fails(capsys, "convert", "x.ckpt", "out", "--revision", "v1")


def test_layouts_have_no_name_in_common():
    places = [place for one in LAYOUTS for place in one.places]
    assert len(set(places)) == len(places)
    for one in LAYOUTS:
        assert recognise("here", set(one.files).__contains__) is one


def test_what_is_closest_is_said_to_lack_files():
    with pytest.raises(
        CheckpointError, match=r"^here lacks synchformer_state_dict\.pth, prismaudio\.ckpt; expected all"
    ):
        recognise("here", {"vae.ckpt"}.__contains__)
    with pytest.raises(CheckpointError, match=r"^here lacks config\.json; expected all files of a model folder"):
        recognise("here", {"model.safetensors", "vae.ckpt"}.__contains__)
    assert recognise("here", {"model.safetensors", "config.json", "vae.ckpt"}.__contains__) is MODEL_FOLDER
