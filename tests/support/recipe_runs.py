"""Recipes as a user gives them: what they say, what they make, and training that goes on where it was stopped."""

from __future__ import annotations

import csv
import multiprocessing
import os
import sys
import tempfile
import threading
from multiprocessing.connection import wait
from typing import TYPE_CHECKING, Any

import pytest
import torch
import yaml

from prismaudio.cli.main import main

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

ONE_AT_A_TIME = threading.Lock()
PROCESSES = multiprocessing.get_context("forkserver")
"""Makes processes from one that has imported what training needs, which takes longer than most trainings here."""
PROCESSES.set_forkserver_preload(
    ["lightning.pytorch", "prismaudio.cli.fit", "prismaudio.training", "prismaudio.inference", "prismaudio.cli.export"]
)


def check_first_line(recipe: Path) -> None:
    """See that a recipe begins with a sentence about it."""
    first = recipe.read_text(encoding="utf-8").partition("\n")[0]
    assert first.startswith("# ")
    assert first.endswith(".")


def printed(capsys: pytest.CaptureFixture[str], *names: str) -> dict[str, Any]:
    """What recipes that are given one after the other make, as ``--print_config`` prints it."""
    words = [word for name in names for word in ("--config", name)]
    with pytest.raises(SystemExit) as stop:
        main(["fit", *words, "--print_config"])
    assert stop.value.code == 0
    return yaml.safe_load(capsys.readouterr().out)


def train(folder: Path, *words: str) -> None:
    """Give a command in a folder, in a process of its own that has the slow imports already."""
    with tempfile.NamedTemporaryFile("r", suffix=".txt", encoding="utf-8", errors="replace") as printed_there:
        process = PROCESSES.Process(target=_give, args=(str(folder), words, printed_there.name, dict(os.environ)))
        with ONE_AT_A_TIME:  # starting looks after all processes, as joining does
            process.start()
        finished = wait([process.sentinel], 600)
        with ONE_AT_A_TIME:
            if not finished:
                process.kill()
            process.join()
        assert process.exitcode == 0, f"{words}: {printed_there.read()[-2000:]}"


def _give(folder: str, words: Sequence[str], output: str, variables: Mapping[str, str]) -> None:
    os.environ.update(variables)
    os.chdir(folder)
    to = os.open(output, os.O_WRONLY)
    for stream in (1, 2):
        os.dup2(to, stream)
    sys.exit(main(list(words)))


def logged(run: Path, name: str) -> list[float]:
    """Values of a number in the log of a run."""
    rows = csv.DictReader((run / "metrics.csv").read_text().splitlines())
    return [float(row[name]) for row in rows if row[name]]


def check_resuming(folder: Path, run: Path, recipe: str, load: Callable[[Path], dict[str, Any]]) -> None:
    """See that a run from step 10 gives the numbers of the one to step 20, and what is exported of step 10.

    Args:
        folder: Where the recipe was trained.
        run: Its run, which kept an average of the weights.
        recipe: Its name.
        load: Loads what was exported.
    """
    assert list((run / "listening").rglob("*.wav"))
    (middle,) = run.rglob("step=10.ckpt")
    words = ["--ckpt_path", str(middle), "--trainer.logger.save_dir", "resumed", "--trainer.callbacks=null"]
    words += ["--trainer.callbacks+=ExponentialMovingAverage", "--trainer.callbacks.beta=0.9"]
    words += ["--trainer.callbacks+=lightning.pytorch.callbacks.ModelCheckpoint", "--trainer.callbacks.filename={step}"]
    train(folder, "fit", "--config", recipe, *words, "--trainer.callbacks.every_n_train_steps=20")
    (again,) = (folder / "resumed").rglob("step=20.ckpt")
    (before,) = run.rglob("step=20.ckpt")
    one, two = (torch.load(path, weights_only=True) for path in (before, again))
    for part in ("state_dict", "optimizer_states", "lr_schedulers"):
        torch.testing.assert_close(two[part], one[part], rtol=0, atol=0)
    train(folder, "export", str(middle), "exported", "--half", "transformer")
    exported = load(folder / "exported")["transformer"].state_dict()
    average = torch.load(middle, weights_only=True)["state_dict"]["average.transformer/project_in/weight"]
    assert torch.equal(exported["project_in.weight"], average.half().float())
