"""Both wheels in an environment of their own: what a stranger gets."""

from __future__ import annotations

import importlib
import json
import sys
import tomllib
from pathlib import Path

import pytest
from environments import ROOT, fresh_environment, run

LOUDNESS = ROOT / "plugins" / "prismaudio-loudness"


@pytest.fixture(scope="module")
def environment(tmp_path_factory):
    """An environment with the wheels of the core and of the plugin; gives its ``bin`` folder."""
    return fresh_environment(tmp_path_factory.mktemp("wheels"), ROOT, LOUDNESS)


@pytest.mark.slow
def test_a_fifth_dimension_is_listed(environment):
    rows = json.loads(run(environment / "prismaudio", "plugins", "list", "--json"))
    new = {(row["kind"], row["name"]) for row in rows if row["distribution"] == "prismaudio-loudness"}
    assert {("dimensions", "loudness"), ("rewards", "LoudnessReward"), ("metrics", "LoudnessMetric")} <= new
    assert {row["status"] for row in rows} == {"ok"}


@pytest.mark.slow
def test_the_core_brings_its_recipes_and_no_weights(environment):
    names = run(environment / "prismaudio", "recipes", "list")
    assert "foundation/paper" in names
    here = run(environment / "python", "-c", "import prismaudio; print(prismaudio.__file__)")
    package = Path(here.strip()).parent
    assert environment.parent in package.parents
    assert (package / "py.typed").exists()
    assert not list(package.rglob("*.safetensors"))


@pytest.mark.slow
def test_its_smoke_recipe_trains(environment, tmp_path):
    run(environment / "prismaudio", "fit", "--config", "smoke/loudness", cwd=tmp_path)
    table = run(environment / "prismaudio", "validate", "--config", "smoke/loudness", cwd=tmp_path)
    assert "val_loudness" in table


@pytest.mark.slow
def test_the_plugin_holds_up_to_its_check(environment):
    assert "all checks passed" in run(environment / "prismaudio", "plugins", "check", "prismaudio-loudness")


def test_the_worked_example_is_small():
    files = [path for path in LOUDNESS.rglob("*") if path.suffix in (".py", ".toml", ".md", ".yaml")]
    assert sum(len(path.read_text().splitlines()) for path in files) <= 170


def test_every_plugin_of_the_repository_is_known_to_suggestions():
    from prismaudio.registry import OFFICIAL

    assert sorted(OFFICIAL) == sorted(path.parent.name for path in ROOT.glob("plugins/*/pyproject.toml"))


@pytest.mark.parametrize("name", sorted(path.parent.name for path in ROOT.glob("plugins/*/pyproject.toml")))
def test_suggestions_know_what_each_plugin_brings(name, monkeypatch):
    from prismaudio import hookspecs
    from prismaudio.registry import OFFICIAL

    points = tomllib.loads((ROOT / "plugins" / name / "pyproject.toml").read_text())["project"]["entry-points"]
    monkeypatch.syspath_prepend(ROOT / "plugins" / name / "src")
    brought = []
    for target in points["prismaudio"].values():
        module = importlib.import_module(target)
        monkeypatch.delitem(sys.modules, target)
        hooks = [getattr(module, f"prismaudio_{kind}", list) for kind in hookspecs.KINDS if kind != "recipes"]
        brought += [item.name for hook in hooks for item in hook()]
    assert sorted(set(brought)) == sorted(set(OFFICIAL[name]))
