"""Every recipe parses; every smoke recipe trains."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from prismaudio.cli.main import main
from prismaudio.registry import discover

RECIPES = {entry.name: Path(str(entry.item)) for entry in discover().entries if entry.kind == "recipes"}
SMOKE = [name for name in RECIPES if name.startswith("smoke/")]


@pytest.mark.parametrize("name", RECIPES)
def test_it_says_what_it_does(name):
    first = RECIPES[name].read_text(encoding="utf-8").partition("\n")[0]
    assert first.startswith("# ")
    assert first.endswith(".")


@pytest.mark.parametrize("name", RECIPES)
def test_it_parses(name, capsys):
    with pytest.raises(SystemExit) as stop:
        main(["fit", "--config", name, "--print_config"])
    assert stop.value.code == 0
    assert yaml.safe_load(capsys.readouterr().out)["model"]["class_path"].startswith("prismaudio")


@pytest.mark.slow
def test_every_smoke_recipe_trains(tmp_path):
    assert SMOKE
    for name in SMOKE:  # in order, in one folder: a later stage may go on from an earlier one
        line = [sys.executable, "-m", "prismaudio", "fit", "--config", name]
        done = subprocess.run(
            line, cwd=tmp_path, capture_output=True, text=True, timeout=300, env=os.environ | {"OMP_NUM_THREADS": "1"}
        )
        assert done.returncode == 0, f"{name}: {done.stderr[-2000:]}"
