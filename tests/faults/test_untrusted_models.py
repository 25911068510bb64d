"""Model folders, files of weights and checkpoints from strangers: whatever they hold, nothing of it runs."""

from __future__ import annotations

import json
import os
import pickle
import shutil
import zipfile
from pathlib import Path

import pytest
import torch

from prismaudio.cli.main import main


class Harmful:
    """Makes a folder when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (os.mkdir, (str(self.path),))


def one_line(capsys, *argv):
    """The line that a command ends with, which runs no code."""
    assert main([*map(str, argv)]) == 2
    assert not Path("ran").exists()
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("prismaudio: error: ")]
    assert len(lines) == 1
    assert len(lines[0]) < 4000
    return lines[0]


@pytest.fixture
def place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "evil.py").write_text("from pathlib import Path\nPath('ran').mkdir()\n")
    return tmp_path


@pytest.fixture
def model(place, tiny_model_folder):
    return shutil.copytree(tiny_model_folder, place / "model")


def changed(folder, name, target, arguments):
    config = json.loads((folder / "config.json").read_text())
    config["components"][name] = {"class": target, "arguments": arguments}
    (folder / "config.json").write_text(json.dumps(config))


CALLS = {
    "the command line": ("prismaudio.cli.main:main", {"argv": ["--plugin", "evil.py", "plugins", "list"]}),
    "an import": ("prismaudio.cli.main:import_module", {"name": "evil"}),
    "a module": ("evil:Path", {}),
    "another package": ("os:mkdir", {"path": "ran"}),
    "a function": ("prismaudio.media.files:make_writable", {"folder": "ran"}),
}


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("command", ["generate", "convert", "fit"])
def test_a_model_folder_calls_nothing(model, capsys, call, command):
    changed(model, "sampler", *CALLS[call])
    argv = {
        "generate": ["generate", "--prompt", "a bell", "--duration", "1", "--model", "model", "-o", "out"],
        "convert": ["convert", "model", "out"],
        "fit": ["fit", "--config", "smoke/foundation", "--model.init_args.pretrained", "model"],
    }[command]
    assert "which no installed plugin provides" in one_line(capsys, *argv)


def zipped(path, data):
    """A file of torch.save whose pickle is given."""
    torch.save({"state_dict": {"a": torch.ones(2)}}, path)
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, data if name.endswith("data.pkl") else content)


def legacy(path, data):
    """As torch wrote files before version 1.6."""
    head = b"".join(pickle.dumps(part, 2) for part in (0x1950A86A20F9469CFC6C, 1001, {"little_endian": True}))
    path.write_bytes(head + data)


def sharded(path, data):
    path.mkdir()
    (path / ".metadata").write_bytes(data)


FORMS = {"zip": zipped, "legacy": legacy, "raw": lambda path, data: path.write_bytes(data), "sharded": sharded}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("command", ["convert", "convert --vae", "export", "fit", "model"])
@pytest.mark.parametrize("protocol", [2, 4])
def test_a_pickle_runs_nothing_in_any_form(model, place, capsys, form, command, protocol):
    path = place / ("x.safetensors" if command == "model" else "x.ckpt")
    evil = {"state_dict": {"a": Harmful("ran")}, "pytorch-lightning_version": "2.6.1"}
    FORMS[form](path, pickle.dumps(evil, protocol))
    if command == "model":
        (model / "model.safetensors").unlink()
        path.rename(model / "model.safetensors")
    argv = {
        "convert": ["convert", path, "out"],
        "convert --vae": ["convert", "model", "out", "--vae", path],
        "export": ["export", path, "out", "--config", "smoke/foundation"],
        "fit": ["fit", "--config", "smoke/foundation", "--ckpt_path", path, "--weights_only", "false"],
        "model": ["convert", "model", "out"],
    }[command]
    said = one_line(capsys, *argv)
    assert str(path.name) in said or "model.safetensors" in said
    assert not (place / "out").exists()


@pytest.mark.parametrize("mask", [0o022, 0o077])
def test_the_umask_determines_who_can_read_a_model(tiny_model, tmp_path, mask):
    before = os.umask(mask)
    try:
        tiny_model.save_pretrained(tmp_path / "model")
    finally:
        os.umask(before)
    assert {path.stat().st_mode & 0o777 for path in (tmp_path / "model").iterdir()} == {0o666 & ~mask}
