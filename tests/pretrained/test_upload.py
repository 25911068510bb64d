"""Uploads of model folders, to a server on 127.0.0.1 that knows the protocol of the hub."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
import yaml
from hub_server import run_commands, run_script, serving
from published_layouts import NAMES
from published_plugin import made
from safetensors.torch import load_file, save_file

from prismaudio.cli.push import main
from prismaudio.errors import DataError, PrismAudioError
from prismaudio.pretrained.card import MARK, About, Known, notes, published_recipe, read_results, write_card

BELLS = "me/bells"
REPORT = {
    "rows": {"truth": {"f1": {"mean": 1.0, "sd": 0.0}}, "end_to_end": {"f1": {"mean": 0.75, "sd": 0.02}, "itd": None}},
    "meta": {"model": "other@0123456789ab", "clips": 12},
}
SCORES = [
    {"file": "a.wav", "scores": {}},
    {"all": {"OnsetF1": {"value": 0.5, "sd": 0.1}, "GccMse": {"value": None, "reason": "no reference"}}, "files": 3},
]


@pytest.fixture
def hub():
    with serving() as server:
        yield server


@pytest.fixture
def environment(hub, tmp_path, tiny_plugin):
    return hub.environment(tmp_path / "home", HF_TOKEN="hf_mine")


@pytest.fixture
def model(tmp_path, tiny_model_folder):
    """A copy of the tiny model, in the folder of a run."""
    return Path(shutil.copytree(tiny_model_folder, tmp_path / "run" / "model"))


def metadata(card):
    return yaml.safe_load(card.split("---\n")[1])


def pushed(hub, name=BELLS, revision="main"):
    repository = hub.repositories[name]
    return repository.commits[repository.refs[revision]]


def line_of(answer):
    code, out, err = answer
    assert (code, out) == (2, ""), answer
    lines = [line for line in err.splitlines() if line.startswith("prismaudio: error: ")]
    assert len(lines) == 1, err
    return lines[0]


def printed(capsys, *words):
    assert main([*map(str, words), "--dry-run"]) == 0
    return capsys.readouterr().out


def test_a_model_is_pushed_downloaded_and_sounds_the_same(hub, environment, tmp_path, model):
    (tmp_path / "scores.json").write_text("\n".join(map(json.dumps, SCORES)))
    recipe = {
        "model": {"class_path": "a.FoundationTask", "init_args": {"pretrained": "studio", "optimizer": None}},
        "data": {
            "class_path": "b.ManifestDataModule",
            "init_args": {"manifest": "/home/me/clips.csv", "api_key": "hf_1"},
        },
        "trainer": {"max_steps": 7, "default_root_dir": "/home/me/runs"},
    }
    (tmp_path / "run" / "recipe.yaml").write_text(yaml.safe_dump(recipe))
    words = ("--license", "CC-BY-4.0", "--base-model", "a/b", "--dataset", "c/d", "e", "--results", "scores.json")
    generate = ("generate", "--prompt", "a bell", "--duration", "1", "--seed", "3", "--device", "cpu", "--steps", "2")
    answers = run_commands(
        environment,
        tmp_path,
        ("push", model, BELLS, "--private", "--message", "First", *words),
        (*generate, "--model", BELLS, "-o", "theirs"),
        (*generate, "--model", model, "-o", "mine"),
    )
    assert [answer[0] for answer in answers] == [0, 0, 0], answers
    files = pushed(hub)
    assert answers[0][1].startswith(f"{hub.url}/{BELLS}/commit/")
    assert set(files) == {".gitattributes", "README.md", "config.json", "model.safetensors"}
    assert files["model.safetensors"] == (model / "model.safetensors").read_bytes()
    assert hub.messages == ["First"]
    assert hub.repositories[BELLS].private
    card = files["README.md"].decode()
    found = metadata(card)
    index = found.pop("model-index")
    assert found == {
        "base_model": ["a/b"],
        "datasets": ["c/d", "e"],
        "library_name": "prismaudio",
        "license": "cc-by-4.0",
        "pipeline_tag": "video-to-audio",
        "tags": ["prismaudio", "video-to-audio", "flow-matching"],
    }
    assert [(m["type"], m["value"]) for r in index[0]["results"] for m in r["metrics"]] == [("OnsetF1", 0.5)]
    transformer = sum(v.numel() for k, v in load_file(model / "model.safetensors").items() if k.startswith("transf"))
    for text in (
        *(f'from_pretrained("{BELLS}")', f"| transformer | `DiffusionTransformer` | {transformer:,} | float32 |"),
        *(
            "| OnsetF1 | 0.5 ± 0.1 |",
            "| Started from | `studio` |",
            "manifest: …/clips.csv",
            "max_steps 7",
            "| Conditions |",
        ),
    ):
        assert text in card
    assert "/home/me" not in card
    assert "hf_1" not in card
    sounds = [next(Path(tmp_path, folder).glob("*.wav")).read_bytes() for folder in ("theirs", "mine")]
    assert sounds[0] == sounds[1]


def test_a_dry_run_asks_no_hub_and_says_what_is_missing(tmp_path, model, capsys, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    (model / "results.json").write_text(json.dumps(REPORT))
    for name in ("train.log", "last.ckpt", "config.json.partial", "optimizer.pt", "notes.txt", ".token"):
        (model / name).write_text("x")
    before = sorted(model.iterdir())
    out = printed(capsys, model, BELLS)
    assert sorted(model.iterdir()) == before
    listed, _, card = out.partition("\n\n")
    assert f"{BELLS}, branch main: 3 files, " in listed
    left_out = next(line for line in listed.splitlines() if line.startswith("left out: "))
    for name in (
        "train.log",
        "last.ckpt",
        "config.json.partial",
        "optimizer.pt",
        "notes.txt",
        ".token",
        "results.json",
    ):
        assert f"{name} (not a file of the model)" in left_out
    assert "note: TinyTextEncoder: of a local plugin, which others cannot install" in listed
    assert "note: results.json was measured with other@0123456789ab; this model is " in listed
    assert "left out of the card: the licence (--license ID), the base model (--base-model ID), the data" in listed
    assert "a push needs the licence: --license ID" in listed
    assert "results (" not in listed
    assert "| f1 | 1 | 0.75 ± 0.02 |" in card
    (measured,) = metadata(card)["model-index"][0]["results"]  # the truth is no result of the model
    assert measured["metrics"] == [{"type": "f1", "value": 0.75, "name": "f1 (end_to_end)"}]
    assert "license" not in metadata(card)


def test_a_page_that_somebody_wrote_is_kept_and_completed(model, capsys):
    mine = "---\nlicense: mit\ntags: [bells]\nlanguage: en\n---\n\n# Bells\nBy hand.\n"
    (model / "README.md").write_text(mine)
    out = printed(capsys, model, BELLS, "--base-model", "a/b")
    card = out.partition("\n\n")[2]
    assert "its metadata are completed" in out
    assert card.endswith("---\n\n# Bells\nBy hand.\n")
    assert metadata(card) == {
        "base_model": ["a/b"],
        "library_name": "prismaudio",
        "license": "mit",
        "pipeline_tag": "video-to-audio",
        "tags": ["bells"],
        "language": "en",
    }
    assert (model / "README.md").read_text() == mine
    assert (
        metadata(printed(capsys, model, BELLS, "--license", "apache-2.0").partition("\n\n")[2])["license"]
        == "apache-2.0"
    )
    assert MARK in printed(capsys, model, BELLS, "--overwrite-card")
    (model / "README.md").write_text(f"---\nlicense: mit\n---\n{MARK}\n# Old")
    assert "# Old" not in printed(capsys, model, BELLS)
    (model / "README.md").write_text("# By hand\n")
    assert printed(capsys, model, BELLS).endswith("---\n\n# By hand\n")
    (model / "README.md").write_text("---\nlicense: [\n---\n")
    with pytest.raises(PrismAudioError, match=r"metadata of the README.md of me/bells are not valid"):
        main([str(model), BELLS, "--dry-run"])


def damage(model, how):
    weights = load_file(model / "model.safetensors")
    key = next(iter(weights))
    if how == "truncated":
        content = (model / "model.safetensors").read_bytes()
        (model / "model.safetensors").write_bytes(content[:-100])
    elif how == "not finite":
        save_file({**weights, key: torch.full_like(weights[key], torch.nan)}, model / "model.safetensors")
    elif how == "lacks a weight":
        save_file({name: value for name, value in weights.items() if name != key}, model / "model.safetensors")
    elif how == "no weights":
        (model / "model.safetensors").unlink()
    elif how == "no transformer":
        config = json.loads((model / "config.json").read_text())
        del config["components"]["transformer"]
        (model / "config.json").write_text(json.dumps(config))
        kept = {name: value for name, value in weights.items() if not name.startswith("transformer.")}
        save_file(kept, model / "model.safetensors")
    elif how == "a link":
        (model / "config.json").rename(model.parent / "other.json")
        (model / "config.json").symlink_to(model.parent / "other.json")


LIBRARY = """
    from prismaudio.checkpoints import Configured
    from prismaudio.encoders.base import Encoder
    import torch
    class LibraryEncoder(Configured, Encoder):
        '''With files of its own.'''
        files_argument = "folder"
        def __init__(self, folder: str) -> None:
            self.dim, self.rate_hz = 16, None
        def save_files(self, folder):
            folder.mkdir()
            return {}
        def encode(self, clip, plan):
            return torch.zeros(0, 16)
    @hookimpl
    def prismaudio_encoders():
        return [Component("MODULE:LibraryEncoder", "Reads books.")]
"""


def test_files_of_components_travel_too_but_no_pickles(model, install, capsys):
    module = install(LIBRARY, name="books")
    config = json.loads((model / "config.json").read_text())
    entry = {"class": f"{module}:LibraryEncoder", "arguments": {"folder": "text_encoder"}}
    config["components"]["text_encoder"] = entry
    (model / "config.json").write_text(json.dumps(config))
    own = model / "text_encoder"
    (own / "deep").mkdir(parents=True)
    for name in ("tokenizer.json", "pytorch_model.bin", ".cache", "deep/more.txt", "optimizer.pt"):
        (own / name).write_text("x")
    with pytest.raises(PrismAudioError, match=r"text_encoder has no weights as .safetensors, or is a link"):
        main([str(model), BELLS, "--dry-run"])
    save_file({"a": torch.zeros(3, 4, dtype=torch.bfloat16)}, own / "model.safetensors")
    listed, _, card = printed(capsys, model, BELLS).partition("\n\n")
    sent = {line.split()[0] for line in listed.splitlines() if line.startswith("  ")}
    names = {"deep/more.txt", "model.safetensors", "tokenizer.json"}
    assert sent == {"README.md", "config.json", "model.safetensors", *(f"text_encoder/{name}" for name in names)}
    for name in (".cache", "optimizer.pt", "pytorch_model.bin"):
        assert f"text_encoder/{name} (not safetensors, JSON or text)" in listed
    assert "| text_encoder | `LibraryEncoder` | 12 | bfloat16 |" in card
    assert "| `prismaudio-books` | 0.3 |" in card
    assert "pip install prismaudio prismaudio-books`" in card
    (own / "model.safetensors").rename(model.parent / "other.safetensors")
    (own / "model.safetensors").symlink_to(model.parent / "other.safetensors")
    with pytest.raises(PrismAudioError, match=r"other.safetensors, outside the folder; copy the file into it"):
        main([str(model), BELLS, "--dry-run"])


@pytest.mark.parametrize(
    ("how", "line"),
    [
        ("truncated", "model.safetensors is truncated, damaged or not a .safetensors file"),
        ("not finite", "NaN or infinity in "),
        ("lacks a weight", "does not fit"),
        ("no weights", "lacks model.safetensors"),
        ("no transformer", "is not a complete model: it lacks transformer"),
        ("a link", "other.json, outside the folder; copy the file into it"),
    ],
)
def test_a_model_that_does_not_load_is_refused(model, how, line):
    damage(model, how)
    with pytest.raises(PrismAudioError, match=line):
        main([str(model), BELLS, "--license", "mit"])


def test_what_is_no_model_folder(tmp_path, model):
    layout = tmp_path / "published"
    layout.mkdir()
    for name, data in made(NAMES[0]).items():
        (layout / name).write_bytes(data)
    for folder, line in {
        tmp_path / "none": "no such folder: .*none; expected a model folder",
        model.parent: "run is no model folder: it has no config.json and no model.saf.*; did you mean .*run/model",
        layout: "has the files of FunAudioLLM/PrismAudio .*, which are not uploaded; run prismaudio convert",
    }.items():
        with pytest.raises(PrismAudioError, match=line):
            main([str(folder), BELLS, "--dry-run"])
    for words, line in {
        ("bells",): "'bells' is no name of a repository; expected owner/name",
        ("me/a--b",): "'me/a--b' is no name of a repository: .*--",
        (BELLS, "--license", "my own"): "is no identifier of a licence",
        (BELLS, "--dataset", "a b"): "is no name on the hub",
        (BELLS, "--results", str(model / "config.json")): "config.json has another form; expected the JSON of",
        (BELLS, "--results", str(tmp_path / "no.json")): "cannot read .*no.json: no such file",
        (BELLS, "--recipe", str(tmp_path / "no.yaml")): "no.yaml: No such file",
    }.items():
        with pytest.raises(PrismAudioError, match=line):
            main([str(model), *words, "--dry-run"])


def test_what_the_hub_has_is_respected(hub, environment, tmp_path, model):
    mine = b"---\nlicense: mit\n---\n\n# By hand\n"
    old = {"README.md": mine, "planner/old.safetensors": b"x", "demo.png": b"png"}
    hub.repository(BELLS).commit(old)
    hub.repository("me/two").commit({"vae.ckpt": b"x", "prismaudio.ckpt": b"x"})
    push = ("push", model)
    answers = run_commands(
        environment,
        tmp_path,
        (*push, BELLS, "--revision", "v2"),
        (*push, BELLS),
        (*push, BELLS, "--private"),
        (*push, "me/two", "--license", "mit"),
        (*push, "me/new"),
    )
    assert [answer[0] for answer in answers[:2]] == [0, 0], answers
    assert "the text of the README.md on the hub is kept" in answers[0][2]
    for files in (pushed(hub), pushed(hub, revision="v2")):
        assert set(files) == {"README.md", "demo.png", "config.json", "model.safetensors"}
        assert files["README.md"].decode().endswith("# By hand\n")
        assert metadata(files["README.md"].decode())["library_name"] == "prismaudio"
    assert "me/bells exists and is public, and --private applies to new repositories" in line_of(answers[2])
    assert "with this upload me/two on the hub contains two models, model.safetensors and prismaudio.ckpt" in line_of(
        answers[3]
    )
    assert "the licence of the model is not known; state it with --license ID" in line_of(answers[4])
    assert "me/new" not in hub.repositories


@pytest.mark.slow
def test_what_the_hub_does_not_take(hub, environment, tmp_path, model):
    hub.refused |= {"hf_wrong": 401, "hf_reads": 403}
    may = "the permission to write: https://huggingface.co/settings/tokens"
    push = ["push", str(model), BELLS, "--license", "mit"]

    def lines(tokens, **changed):
        program = (
            "import os, sys",
            "from prismaudio.cli.main import main",
            "sys.stderr = sys.stdout",
            f"for token in {tokens}:",
            "    os.environ['HF_TOKEN'] = token",
            f"    assert main({push}) == 2",
        )
        return run_script(environment | changed, *program).splitlines()

    assert lines(["", "hf_wrong", "hf_reads"]) == [
        "prismaudio: error: uploads need a token of the Hugging Face hub: hf auth login, or set HF_TOKEN",
        "prismaudio: error: the hub does not accept the token; log in again: hf auth login, or set HF_TOKEN",
        f"prismaudio: error: the token may not write to me/bells; check the owner's name, and that the token has {may}",
    ]
    for nowhere in ({"HF_HUB_OFFLINE": "1"}, {"HF_ENDPOINT": "http://127.0.0.1:9"}):
        (line,) = lines(["hf_right"], **nowhere)
        assert line.startswith("prismaudio: error: cannot upload to me/bells (")
    assert hub.repositories == {}


def test_push_to_hub_from_python(hub, environment, tmp_path):
    out = run_script(
        environment,
        "from prismaudio import PrismAudio",
        "model = PrismAudio.from_pretrained('tiny')",
        "print(model.push_to_hub('me/half', half=['transformer'], licence='mit', revision='v1'))",
        "print(PrismAudio.from_pretrained('me/half', revision='v1').name)",
    )
    assert out.splitlines()[0].startswith(f"{hub.url}/me/half/commit/")
    assert "me/half@" in out
    assert "| float16 |" in pushed(hub, "me/half", "v1")["README.md"].decode()


def test_results_of_all_kinds(tmp_path):
    path = tmp_path / "some.json"
    for content, rows in (
        (json.dumps(REPORT, indent=2), {"truth": {"f1": (1.0, None)}, "end_to_end": {"f1": (0.75, 0.02)}}),
        ("\n".join(map(json.dumps, SCORES)), {"": {"OnsetF1": (0.5, 0.1)}}),
        ('{"val_loss": 0.25}', {"": {"val_loss": (0.25, None)}}),
    ):
        path.write_text(content)
        assert read_results(path).rows == rows
    for content, line in (
        ("{", "is not JSON"),
        ("[1]", "has another form"),
        ('{"a": "b"}', "has another form"),
        (json.dumps(SCORES[0]), "has another form"),
        ('{"rows": {"a": 1}}', "has another form"),
        ("{}", "has no measured value"),
        ('{"a": NaN}', "has no measured value"),
    ):
        path.write_text(content)
        with pytest.raises(DataError, match=f"{line}.*; expected the JSON of prismaudio score or prismaudio bench"):
            read_results(path)


def test_what_is_private_in_a_recipe_is_not_shown():
    options = {
        "api_key": "a",
        "HF_TOKEN": "b",
        "headers": {"Authorization": "c"},
        "max_tokens": 5,
        "note": "hf_abcdefghij",
    }
    places = {
        "a": "/home/me/x",
        "b": "~/y",
        "c": "../z",
        "d": "C:\\Users\\me\\w.csv",
        "e": "https://me:pw@host/v1",
        "f": "data/x",
    }
    shown = published_recipe(
        {"model": options, "data": places, "trainer": {"logger": "x", "max_steps": 3}, "ckpt_path": "/a"}
    )
    assert shown == {
        "model": {"headers": {}, "max_tokens": 5, "note": ""},
        "data": {"a": "…/x", "b": "…/y", "c": "…/z", "d": "…/w.csv", "e": "https://host/v1", "f": "data/x"},
        "trainer": {"max_steps": 3},
    }
    for odd in ({"model": "x", "data": [1], "trainer": 3}, {"model": {"class_path": 3, "init_args": "y"}}, {}):
        card = write_card(BELLS, Known([], {}, [], {}, ""), About(recipe=odd))
        assert notes(Known([], {}, [], {}, ""), About(recipe=odd)) == []
        assert "# bells" in card.text
