"""Training that is killed, or finds no room, in the middle of a checkpoint."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import yaml

from prismaudio.cli.main import main

PLAIN = '''
import torch
from lightning.pytorch import LightningDataModule, LightningModule
from prismaudio import Component, hookimpl

class PlainTask(LightningModule):
    """A task with one large weight.

    Args:
        size: Numbers in it.
    """

    def __init__(self, size: int = 50_000) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(size))

    def training_step(self, batch, index):
        return (self.weight * batch.mean()).mean()

    validation_step = training_step

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), 0.1)

class PlainData(LightningDataModule):
    """Ones."""

    def train_dataloader(self):
        return torch.utils.data.DataLoader(torch.ones(8, 3))

    val_dataloader = train_dataloader

@hookimpl
def prismaudio_samplers():
    return [Component("prismaudio_plain:Nothing", "What makes this module a plugin.")]
'''
RECIPE = """
model: PlainTask
data: PlainData
trainer:
  accelerator: cpu
  max_steps: 3
  default_root_dir: run
  logger: false
  enable_progress_bar: false
  enable_model_summary: false
  callbacks:
    - class_path: lightning.pytorch.callbacks.ModelCheckpoint
      init_args: {dirpath: run/checkpoints, filename: "{step}", every_n_train_steps: 1, save_top_k: -1, save_last: true}
"""
KILLED = """
import os, signal, sys, torch
from prismaudio.cli.main import main

written, save, replace = 0, torch.save, os.replace

def cut_off(checkpoint, file):
    global written
    written += 1
    if written == AT:
        save(checkpoint, file)
        file.seek(0)
        file.truncate(1000)
        file.flush()
        os.kill(os.getpid(), signal.SIGKILL)
    save(checkpoint, file)

torch.save = cut_off
main(["fit", "--config", "recipe.yaml"])
"""
NOISE = pytest.mark.filterwarnings(
    "ignore:The '.*_dataloader'", "ignore:You're resuming", "ignore:Checkpoint dir", "ignore:.*validation_step"
)
FIT = ["fit", "--config", "recipe.yaml"]


@pytest.fixture(scope="module")
def plugin(tmp_path_factory):
    """The folder of a local plugin; one for all tests, because Python never forgets a class."""
    folder = tmp_path_factory.mktemp("plugin")
    (folder / "prismaudio_plain.py").write_text(PLAIN)
    sys.path.insert(0, str(folder))
    yield folder
    sys.path.remove(str(folder))


@pytest.fixture(autouse=True)
def _here(plugin, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PRISMAUDIO_PLUGINS", "prismaudio_plain")
    monkeypatch.setenv("PYTHONPATH", str(plugin), prepend=os.pathsep)
    Path("recipe.yaml").write_text(RECIPE)


def steps():
    """The step of each checkpoint that is there; all of them must be whole."""
    paths = sorted(Path("run/checkpoints").glob("[!.]*"))
    return {path.name: torch.load(path, weights_only=True)["global_step"] for path in paths}


@NOISE
@pytest.mark.parametrize(("at", "there"), [(3, ["last", "step=1"]), (4, ["last", "step=1", "step=2"])])
def test_a_run_that_is_killed_while_it_writes_leaves_whole_checkpoints_and_goes_on(at, there):
    done = subprocess.run([sys.executable, "-c", KILLED.replace("AT", str(at))], check=False, timeout=120)
    assert done.returncode == -signal.SIGKILL
    assert [Path(name).stem for name in steps()] == there
    assert steps()["last.ckpt"] == 1
    assert main([*FIT, "--ckpt_path", "last", "--trainer.max_steps", "4"]) == 0
    assert max(steps().values()) == 4


@NOISE
def test_a_disk_without_room_leaves_what_was_there(capsys):
    assert main(FIT) == 0
    before = steps()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, limits[1]))
    try:
        assert main([*FIT, "--ckpt_path", "last", "--trainer.max_steps", "5"]) == 2
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("prismaudio:")]
    assert line.startswith("prismaudio: error: cannot write the checkpoint ")
    assert "file too large" in line
    assert steps() == before
    assert not list(Path("run/checkpoints").glob(".*"))


@NOISE
def test_a_last_checkpoint_that_is_cut_off_is_passed_over_in_one_line(capsys):
    assert main(FIT) == 0
    last = Path("run/checkpoints/last.ckpt")
    last.write_bytes(last.read_bytes()[:1000])
    Path("run/checkpoints/step=3.ckpt").write_bytes(b"")
    assert main([*FIT, "--ckpt_path", "last", "--trainer.max_steps", "4"]) == 0
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("warning:")]
    assert "last.ckpt is truncated" in line
    assert "resuming from " in line
    assert line.endswith("run/checkpoints/step=2.ckpt instead")
    last.write_bytes(b"")
    for path in Path("run/checkpoints").glob("*.ckpt"):
        path.write_bytes(b"PK")
    assert main([*FIT, "--ckpt_path", "last"]) == 2
    assert "is truncated" in capsys.readouterr().err.splitlines()[-1]


@NOISE
def test_an_evaluation_leaves_the_recipe_of_the_run():
    assert main(FIT) == 0
    recipe = Path("run/recipe.yaml").read_text()
    assert yaml.safe_load(recipe)["trainer"]["max_steps"] == 3
    assert main(["validate", "--config", "recipe.yaml", "--trainer.max_steps", "9"]) == 0
    assert Path("run/recipe.yaml").read_text() == recipe
