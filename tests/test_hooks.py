"""One plugin of each kind that only a plugin can bring: listed, checked, run."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from prismaudio import registry
from prismaudio.cli.main import main
from prismaudio.errors import CheckpointError
from prismaudio.hookspecs import KINDS
from prismaudio.inference import PrismAudio
from prismaudio.media import write_video

BAND = '''
"""A benchmark, a model, a command, a data module and a task."""

import os
from pathlib import Path

import torch
from lightning.pytorch import LightningDataModule, LightningModule

from prismaudio import Command, Component, Pretrained, hookimpl
from prismaudio.benchmarks import Benchmark, Report
from prismaudio.errors import MediaError


class TempoBenchmark(Benchmark):
    """Counts beats."""

    @classmethod
    def add_arguments(cls, parser):
        """Add how many."""
        parser.add_argument("--beats", type=int, default=4, help="how many")

    @classmethod
    def measure(cls, options):
        """Count them."""
        return Report(["beats"], {"all": {"beats": [float(options.beats)]}})


class BandTask(LightningModule):
    """Learns one number.

    Args:
        start: Where it begins.
    """

    def __init__(self, start: float = 1.0) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.tensor(start))

    def training_step(self, batch, index):
        return (self.weight * batch).square().mean()

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), 0.1)


class BandData(LightningDataModule):
    """Ones.

    Args:
        count: How many.
    """

    def __init__(self, count: int = 4) -> None:
        super().__init__()
        self.count = count

    def train_dataloader(self):
        return torch.utils.data.DataLoader(torch.ones(self.count, 1))


def play(argv):
    if argv == ["wrong"]:
        raise MediaError("the band cannot play that")
    print("played", *argv)
    return 3 if argv else None


@hookimpl
def prismaudio_benchmarks():
    return [Component("band:TempoBenchmark", "Beats.")]


@hookimpl
def prismaudio_tasks():
    return [Component("band:BandTask", "One number.")]


@hookimpl
def prismaudio_data_modules():
    return [Component("band:BandData", "Ones.")]


@hookimpl
def prismaudio_models():
    return [Pretrained("band", Path(os.environ["TINY_MODEL_FOLDER"]), "Random.")]


@hookimpl
def prismaudio_commands():
    return [Command("band", "band:play", "plays")]
'''
RECIPE = """\
# One number.
model: {class_path: BandTask, init_args: {start: 2.0}}
data: {class_path: BandData, init_args: {count: 2}}
trainer: {accelerator: cpu, max_steps: 2, logger: false, enable_checkpointing: false, enable_progress_bar: false,
  enable_model_summary: false, default_root_dir: run}
"""
KINDS_OF_BAND = {"benchmarks", "tasks", "data_modules", "models", "commands"}


@pytest.fixture
def band(tiny_plugin, tmp_path, monkeypatch):
    """A plugin of one file, beside the one that installs the model "tiny"."""
    (tmp_path / "band.py").write_text(BAND)
    monkeypatch.setenv("PRISMAUDIO_PLUGINS", str(tmp_path / "band.py"), prepend=",")
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    sys.modules.pop("band", None)


def prismaudio(*words):
    return subprocess.run([sys.executable, "-m", "prismaudio", *words], capture_output=True, text=True)


@pytest.mark.slow
def test_it_is_listed_and_passes_its_checks(band):
    done = prismaudio("plugins", "list", "--json")
    rows = [row for row in json.loads(done.stdout) if row["distribution"] is None]
    assert {row["kind"] for row in rows if row["name"] in ("TempoBenchmark", "BandTask", "BandData", "band")} >= (
        KINDS_OF_BAND
    )
    assert {row["status"] for row in rows} == {"ok"}
    done = prismaudio("plugins", "check", "band")
    assert done.returncode == 0, done.stdout
    assert {line.split()[0] for line in done.stdout.splitlines() if not line.startswith(" ")} >= KINDS_OF_BAND
    assert "all checks passed" in done.stdout


def test_its_benchmark_runs(band, capsys):
    assert main(["bench", "tempo", "--beats", "7", "--json", "out.json"]) == 0
    assert json.loads((band / "out.json").read_text())["rows"]["all"]["beats"]["mean"] == 7
    assert main(["bench", "temp"]) == 2
    assert "did you mean 'tempo'" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(["bench", "--help"])
    assert "tempo        Beats." in capsys.readouterr().out


def test_its_command_is_one_of_prismaudio(band, capsys):
    assert main(["band"]) == 0
    assert main(["band", "loud"]) == 3
    assert capsys.readouterr().out == "played\nplayed loud\n"
    assert main(["band", "wrong"]) == 2
    assert capsys.readouterr().err == "prismaudio: error: the band cannot play that\n"
    assert main(["--help"]) == 0
    assert "  band       plays" in capsys.readouterr().out
    assert main(["bend"]) == 2
    assert "did you mean 'band'" in capsys.readouterr().err


@pytest.mark.slow
def test_recipes_name_its_task_and_its_data(band):
    Path("recipe.yaml").write_text(RECIPE)
    done = prismaudio("fit", "--config", "recipe.yaml")  # in a process of its own, for Python never forgets a class
    assert done.returncode == 0, done.stderr
    assert "max_steps=2" in done.stderr
    done = prismaudio("fit", "--config", "recipe.yaml", "--print_config")
    assert "BandTask" in done.stdout
    assert "count: 2" in done.stdout


def test_its_model_is_found_by_name(band, capsys):
    words = ["generate", "--prompt", "a bell", "--duration", "0.5", "--steps", "1"]
    assert main([*words, "--model", "band", "-o", "out"]) == 0
    assert json.loads((band / "out" / "sound.json").read_text())["model"].startswith("band@")
    assert PrismAudio.from_pretrained("band").name.startswith("band@")
    capsys.readouterr()
    assert main([*words, "-o", "other"]) == 2  # the model "tiny" is installed, too
    said = capsys.readouterr().err
    assert said == "prismaudio: error: 2 models are installed: band, tiny; select one with --model NAME\n"
    assert not Path("other").exists()


def test_a_single_model_that_is_installed_needs_no_name(tiny_plugin, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["generate", "--prompt", "a bell", "--duration", "0.5", "--steps", "1", "-o", "out"]) == 0
    assert json.loads(Path("out/sound.json").read_text())["model"].startswith("tiny@")


@pytest.mark.parametrize(
    "words",
    [
        ["generate", "--prompt", "a bell", "--duration", "1", "-o", "out"],
        ["plan", "a.mp4"],
        ["extract", "a.csv", "-o", "out"],
    ],
)
def test_without_a_model_a_command_says_what_to_install(words, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PRISMAUDIO_DISABLE_PLUGINS", "studio")
    write_video(torch.zeros(8, 3, 32, 32, dtype=torch.uint8), 8, tmp_path / "a.mp4")
    (tmp_path / "a.csv").write_text("video\na.mp4\n")
    assert main(words) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("prismaudio: error: no model is installed; in a clone run: pip install plugins/prismaudio")
    assert "pip install 'prismaudio[studio]'" in line
    assert not Path("out").exists()


def test_an_unknown_model_names_those_that_are_installed(tiny_plugin):
    with pytest.raises(CheckpointError, match=r"no model at tine; expected an installed one \(tiny\)"):
        PrismAudio.from_pretrained("tine")


def test_without_the_core_every_kind_is_empty(monkeypatch):
    own = [p.name for p in registry.discover().plugins if p.name != "core"]
    monkeypatch.setenv("PRISMAUDIO_DISABLE_PLUGINS", ",".join(["core", *own]))
    found = registry.discover()
    assert {kind: found.names(kind) for kind in KINDS} == {kind: [] for kind in KINDS}
    assert {plugin.status for plugin in found.plugins} == {"disabled"}
    assert prismaudio("plugins", "list", "--json").returncode == 0


@pytest.mark.parametrize(
    ("hook", "said"),
    [
        ("def prismaudio_models(): return [Pretrained('My Model', 'a/b', 'x')]", "must be one lower-case word"),
        ("def prismaudio_commands(): return [Command('x', 'nowhere', 'x')]", "must look like 'package.module"),
        ("def prismaudio_models(): return [Component('a:B', 'x')]", "must return Pretraineds, not"),
    ],
)
def test_a_hook_that_returns_something_else_breaks_its_plugin(install, hook, said):
    install(f"from prismaudio import Command, Pretrained\n@hookimpl\n{hook}", name="odd")
    (plugin,) = (plugin for plugin in registry.discover().plugins if plugin.name == "odd")
    assert plugin.status == "broken"
    assert said in plugin.error
