"""What the design promises about the shape of the code, measured on the code."""

from __future__ import annotations

import ast
import inspect
import re
from pathlib import Path

import pytest

import prismaudio
from prismaudio import hookspecs

PACKAGE = Path(prismaudio.__file__).parent
MODULES = sorted(path for path in PACKAGE.rglob("*.py"))
KINDS_WITH_FOLDER = tuple(hookspecs.CONTRACTS)


def test_folders_are_one_deep():
    deep = [path for path in MODULES if len(path.relative_to(PACKAGE).parts) > 2]
    assert deep == []


def test_nothing_has_an_empty_name():
    banned = {"utils", "util", "helpers", "helper", "common", "misc", "manager", "wrapper"}
    named = {path for path in PACKAGE.rglob("*") if banned & set(re.split(r"[_.]", path.name))}
    assert named == set()


@pytest.mark.parametrize("kind", KINDS_WITH_FOLDER)
def test_hook_folder_and_contract_are_one_word(kind):
    module, _, name = hookspecs.CONTRACTS[kind].partition(":")
    assert module == f"prismaudio.{kind}.base"
    tree = ast.parse((PACKAGE / kind / "base.py").read_text(encoding="utf-8"))
    assert name in [node.name for node in tree.body if isinstance(node, ast.ClassDef)]


def test_every_kind_has_a_documented_hook():
    hooks = {name: f for name, f in vars(hookspecs).items() if name.startswith("prismaudio_")}
    assert sorted(hooks) == sorted(f"prismaudio_{kind}" for kind in hookspecs.KINDS)
    for hook in hooks.values():
        assert inspect.getdoc(hook)
        assert list(inspect.signature(hook).parameters) == []


def test_no_path_or_host_of_a_machine_is_in_the_project():
    root = PACKAGE.parents[1]
    if not (root / "pyproject.toml").exists():
        pytest.skip("the sources are not here")
    places = ("*.*", ".ci/*", "src/**/*.py", "benchmarks/**/*.py", "docs/**/*.md")
    texts = [path for place in places for path in root.glob(place)]
    pattern = re.compile("/opt/" + "|/wo" + "rk/|/root" + "/")
    assert [str(path) for path in texts if path.is_file() and pattern.search(path.read_text(errors="ignore"))] == []
