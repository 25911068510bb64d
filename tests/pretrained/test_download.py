"""Models on a hub: downloaded from a server on 127.0.0.1 by processes whose client knows no other hub."""

from __future__ import annotations

import io
import os
import resource
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from hub_server import run_commands, run_script, serving
from published_layouts import NAMES, torch_bytes
from published_plugin import PLAN, made

from prismaudio.inference import PrismAudio

FUN, BUNDLE, OTHER = NAMES
CORE = {
    FUN: ["prismaudio.ckpt", "synchformer_state_dict.pth", "vae.ckpt"],
    OTHER: ["prismaudio.safetensors", "synchformer_state_dict.safetensors", "vae.safetensors"],
    BUNDLE: [
        *("config.json", "flax_lvt_large_f8r288_repeated.npz", "model.safetensors", "prismaudio_bf16.safetensors"),
        *("prismaudio_synchformer_bf16.safetensors", "prismaudio_vae_bf16.safetensors", "tokenizer.json"),
    ],
}


def generate(model, out, *more):
    words = ("--device", "cpu", "--steps", "2", "--seed", "3")
    return ("generate", "clip.mp4", "--plan", PLAN, "--model", model, "-o", out, *words, *more)


@pytest.fixture
def hub(place):
    """A running hub with the published models."""
    with serving() as server:
        for name in NAMES:
            server.repository(name).commit(made(name), "v1")
        yield server


@pytest.fixture
def environment(hub, tmp_path):
    return hub.environment(tmp_path / "home")


def line_of(answer):
    """The one line that a command ends with; the client's progress and warnings may come before."""
    code, _, err = answer
    assert code == 2, err
    lines = [line for line in err.splitlines() if line.startswith("prismaudio: error: ")]
    assert len(lines) == 1
    assert err.rstrip().endswith(lines[0])
    return lines[0]


def incomplete(home):
    """Files of the cache of which only a part was downloaded."""
    return list(home.rglob("*.incomplete"))


def test_a_published_model_is_used_by_its_name(hub, environment, tmp_path):
    answers = run_commands(
        environment,
        tmp_path,
        *(generate(name, f"out{index}") for index, name in enumerate(NAMES)),
        *(("convert", name, f"model{index}") for index, name in enumerate(NAMES)),
        *(generate(f"model{index}", f"again{index}") for index in range(3)),
        ("plan", "clip.mp4", "--model", FUN, "--prompt", "a bell", "-o", "-", "--device", "cpu"),
    )
    for name in NAMES:
        asked = [path for method, path, _ in hub.requests if method == "GET" and f"/{name}/" in path]
        files = [path.rpartition("/")[2] for path in asked if "/api/" not in path]
        assert sorted(set(files)) == CORE[name]
        assert len(files) == len(set(files))  # once each, though two commands use them
    assert [answer[0] for answer in answers] == [0] * 10, answers
    for index, name in enumerate(NAMES):
        first, again = (Path(folder + str(index), "clip.wav").read_bytes() for folder in ("out", "again"))
        assert first == again
        assert f'"model": "{name}@' in Path(f"out{index}/clip.json").read_text()


def test_a_model_folder_is_pinned_downloaded_and_used_offline(hub, environment, tmp_path, tiny_model_folder):
    files = {path.name: path.read_bytes() for path in tiny_model_folder.iterdir()}
    extra = {"README.md": b"# A model", "training.log": b"x" * 20_000}
    mine = hub.repository("me/model")
    first = mine.commit(files | extra, "v1")
    config = files["config.json"].replace(b'"steps": 2', b'"steps": 3')
    assert config != files["config.json"]
    second = mine.commit(files | {"config.json": config} | extra)
    environment["PRISMAUDIO_PLUGINS"] = os.environ["PRISMAUDIO_PLUGINS"]
    folders = run_script(
        environment,
        "from prismaudio.pretrained import find",
        "print(*[find('me/model', revision).folder.name for revision in (None, 'v1', 'main')])",
        f"print(*[find('me/model', revision).folder.name for revision in ('{first}', '{second}')])",
    )
    assert folders.split() == [second, first, second, first, second]
    assert "training.log" not in hub.downloaded()
    model = PrismAudio.from_pretrained(next((tmp_path / "home").rglob(first)))
    assert model.sampler.config == {"steps": 2}
    for offline in ({"HF_HUB_OFFLINE": "1"}, {"HF_ENDPOINT": "http://127.0.0.1:9"}):
        names = run_script(
            environment | offline,
            "from prismaudio import PrismAudio",
            "for revision in (None, 'v1', 'main'):",
            "    model = PrismAudio.from_pretrained('me/model', revision=revision)",
            "    print(model.name, model.sampler.config['steps'])",
        )
        assert [line.split()[1] for line in names.splitlines()] == ["3", "2", "3"]
        assert all(line.startswith("me/model@") for line in names.splitlines())


def test_a_download_that_breaks_off_goes_on(hub, environment, tmp_path):
    files = made(FUN)
    training = {**torch.load(io.BytesIO(files["vae.ckpt"])), "optimizer": torch.arange(8_000_000)}  # 64 MB
    files["vae.ckpt"] = torch_bytes(training)
    hub.repository(FUN).commit(files)
    hub.cut["vae.ckpt"] = 2
    (answer,) = run_commands(environment, tmp_path, ("convert", FUN, "model"))
    assert answer[0] == 0, answer
    asked = [asked for method, path, asked in hub.requests if method == "GET" and path.endswith("/vae.ckpt")]
    starts = [int(asked.removeprefix("bytes=").removesuffix("-")) for asked in asked[1:]]
    assert asked[0] is None
    assert 0 < starts[0] < starts[1] < len(files["vae.ckpt"])
    (stored,) = (tmp_path / "home").rglob("vae.ckpt")
    assert stored.read_bytes() == files["vae.ckpt"]


def test_a_download_that_fails_is_no_model_and_is_done_again(hub, environment, tmp_path):
    hub.cut["prismaudio.ckpt"] = 1000
    (answer,) = run_commands(environment, tmp_path, generate(FUN, "out"))
    assert "the download of FunAudioLLM/PrismAudio was interrupted; try again" in line_of(answer)
    assert not (tmp_path / "out").exists()
    assert not list((tmp_path / "home").rglob("prismaudio.ckpt"))
    assert not incomplete(tmp_path / "home")
    hub.cut.clear()
    hub.requests.clear()
    (answer,) = run_commands(environment, tmp_path, generate(FUN, "out"))
    assert answer[0] == 0, answer
    assert "vae.ckpt" not in hub.downloaded()  # it was complete
    (stored,) = (tmp_path / "home").rglob("prismaudio.ckpt")
    assert stored.read_bytes() == made(FUN)["prismaudio.ckpt"]


def test_a_killed_download_leaves_nothing_that_counts_as_whole(hub, environment, tmp_path):
    hub.stall.add("prismaudio.ckpt")
    argv = [sys.executable, "-m", "prismaudio", *generate(FUN, "out")]
    with subprocess.Popen(argv, env=environment, cwd=tmp_path, stderr=subprocess.DEVNULL) as process:
        assert hub.stalled.wait(60)
        process.send_signal(signal.SIGKILL)
    hub.resume.set()
    hub.stall.clear()
    assert incomplete(tmp_path / "home")
    assert not list((tmp_path / "home").rglob("prismaudio.ckpt"))
    (answer,) = run_commands(environment, tmp_path, generate(FUN, "out"))
    assert answer[0] == 0, answer
    (stored,) = (tmp_path / "home").rglob("prismaudio.ckpt")
    assert stored.read_bytes() == made(FUN)["prismaudio.ckpt"]


def test_what_the_hub_does_not_give(hub, environment, tmp_path):
    hub.repository("google/gated").commit(made(FUN))
    hub.repositories["google/gated"].gated = True
    hub.repository("me/page").commit({"README.md": b"# A model"})
    files = made(OTHER)
    hub.repository("me/part").commit({name: data for name, data in files.items() if not name.startswith("sync")})
    hub.repository("me/two").commit(files | made(FUN))
    hub.repository("me/bert").commit({"config.json": b'{"model_type": "bert"}', "model.safetensors": b"x" * 20_000})
    hub.repository("me/html").commit(files | {"vae.safetensors": b"<html>" + b" " * 20_000})
    expected = {
        ("google/gated",): "google/gated is gated: accept its licence on https://huggingface.co/google/gated and log",
        ("nobody/none",): "no folder nobody/none, and no such repository on the hub, or it is private: hf auth login",
        (FUN, "--revision", "v9"): "FunAudioLLM/PrismAudio on the hub has no revision v9; leave it out for the newest",
        ("me/page",): "me/page on the hub contains no model; expected the files of a model folder (model.safetensors",
        ("me/part",): "me/part on the hub lacks synchformer_state_dict.safetensors; expected all files of AEmotion",
        ("me/two",): "me/two on the hub contains two models, prismaudio.ckpt and prismaudio.safetensors; expected one",
        ("me/bert",): "config.json is damaged or not a PrismAudio checkpoint",
        ("me/html",): "vae.safetensors is not a weight file; expected .safetensors, .ckpt, .pt or .pth",
    }
    commands = [("convert", *words) for words in (((name, "out", *more)) for name, *more in expected)]
    commands += [generate(name, "out", *more) for name, *more in expected]
    answers = run_commands(environment, tmp_path, *commands)
    for answer, words in zip(answers, [*expected.values()] * 2, strict=True):
        assert words in line_of(answer)
    assert not (tmp_path / "out").exists()
    assert not {"synchformer_state_dict.pth", "README.md"} & set(hub.downloaded())  # of a gated, a partial, two models
    (answer,) = run_commands(environment | {"HF_TOKEN": "hf_mine"}, tmp_path, ("convert", "google/gated", "out"))
    assert answer[0] == 0, answer


def test_without_a_network(hub, environment, tmp_path):
    for offline in ({"HF_HUB_OFFLINE": "1"}, {"HF_ENDPOINT": "http://127.0.0.1:9"}):
        answers = run_commands(environment | offline, tmp_path, generate(FUN, "out"), ("convert", FUN, "out"))
        for answer in answers:
            assert "no folder FunAudioLLM/PrismAudio, and the hub does not answer for FunAudioLLM/" in line_of(answer)
            assert "get the files of huggingface.co/FunAudioLLM/PrismAudio elsewhere" in line_of(answer)
    assert not (tmp_path / "out").exists()


def test_a_full_disk(hub, environment, tmp_path):
    def no_large_files():
        resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))

    command = generate(FUN, "out")
    (answer,) = run_commands(environment, tmp_path, command, preexec_fn=no_large_files)
    assert "FunAudioLLM/PrismAudio cannot be stored in " in line_of(answer)
    assert "file too large; make room there, or set HF_HOME to a folder on another disk" in line_of(answer)
    assert not (tmp_path / "out").exists()
    assert not incomplete(tmp_path / "home")
    (answer,) = run_commands(environment, tmp_path, command)
    assert answer[0] == 0, answer
