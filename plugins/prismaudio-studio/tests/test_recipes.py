"""Every recipe of the studio parses; every smoke recipe trains."""

from __future__ import annotations

import csv
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import yaml

from prismaudio.cli.main import main
from prismaudio.pretrained import load_parts
from prismaudio.registry import discover

RECIPES = {
    entry.name: Path(str(entry.item))
    for entry in discover().entries
    if entry.kind == "recipes" and entry.plugin.distribution == "prismaudio-studio"
}
STAGES = ("codec", "planner", "studio-foundation", "studio-fast_grpo", "lora")
"""The smoke recipes, in an order in which each finds what it goes on from."""


def test_they_are_all_there() -> None:
    names = {*(f"smoke/{stage}" for stage in STAGES), "fast_grpo/studio"}
    assert set(RECIPES) == names | {f"studio/{name}" for name in ("codec", "planner", "foundation", "validate")}


@pytest.mark.parametrize("name", RECIPES)
def test_it_parses_and_says_what_it_does(name, capsys) -> None:
    first = RECIPES[name].read_text(encoding="utf-8").partition("\n")[0]
    assert first.startswith("# ")
    assert first.endswith(".")
    with pytest.raises(SystemExit) as stop:
        main(["fit", "--config", name, "--print_config"])
    assert stop.value.code == 0
    assert yaml.safe_load(capsys.readouterr().out)["model"]["class_path"].startswith("prismaudio")


def train(folder: Path, *words: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "prismaudio", *words],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=600,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, f"{words}: {done.stderr[-2000:]}"


def val_losses(run: Path) -> list[float]:
    rows = list(csv.DictReader((run / "metrics.csv").read_text().splitlines()))
    return [float(row["val_loss"]) for row in rows if row["val_loss"]]


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> Path:
    """A folder in which every smoke recipe was trained."""
    folder: Path = tmp_path_factory.mktemp("smoke")
    for stage in STAGES:
        train(folder, "fit", "--config", f"smoke/{stage}")
    return folder


@pytest.mark.slow
def test_every_smoke_recipe_trains(trained) -> None:
    assert {path.name for path in (trained / "runs" / "smoke").iterdir()} >= {"lora-model", "clips"}
    made = trained / "runs" / "smoke" / "lora-model"
    adapter, model = made / "adapter.safetensors", made / "model.safetensors"
    assert adapter.stat().st_size < model.stat().st_size / 4


@pytest.mark.slow
def test_the_foundation_stage_lowers_its_loss_and_resumes_to_identical_numbers(trained) -> None:
    recipe = yaml.safe_load(RECIPES["smoke/studio-foundation"].read_text())
    (run,) = (trained / recipe["trainer"]["default_root_dir"]).glob("version_*")
    words = ["--trainer.logger.save_dir", "untrained", "--trainer.callbacks=null"]
    train(trained, "validate", "--config", "smoke/studio-foundation", *words)
    (untrained,) = val_losses(trained / "untrained" / "version_0")
    losses = val_losses(run)
    assert losses[-1] < min(losses[0], 0.87 * untrained)
    assert list((run / "listening").rglob("*.wav"))
    (middle,) = run.rglob("step=10.ckpt")
    words = ["--ckpt_path", str(middle), "--trainer.logger.save_dir", "resumed", "--trainer.callbacks=null"]
    words += ["--trainer.callbacks+=ExponentialMovingAverage", "--trainer.callbacks.beta=0.9"]
    words += ["--trainer.callbacks+=lightning.pytorch.callbacks.ModelCheckpoint", "--trainer.callbacks.filename={step}"]
    train(trained, "fit", "--config", "smoke/studio-foundation", *words, "--trainer.callbacks.every_n_train_steps=20")
    (again,) = (trained / "resumed").rglob("step=20.ckpt")
    (before,) = run.rglob("step=20.ckpt")
    one, two = (torch.load(path, weights_only=True) for path in (before, again))
    for part in ("state_dict", "optimizer_states", "lr_schedulers"):
        torch.testing.assert_close(two[part], one[part], rtol=0, atol=0)
    train(trained, "export", str(middle), "exported", "--half", "transformer")
    exported = load_parts(trained / "exported")["transformer"].state_dict()
    average = torch.load(middle, weights_only=True)["state_dict"]["average.transformer/project_in/weight"]
    assert torch.equal(exported["project_in.weight"], average.half().float())
