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
KINDS_WITH_FOLDER = tuple(
    kind
    for kind, target in hookspecs.CONTRACTS.items()
    if target.startswith("prismaudio.")
    and kind != "conditioners"  # they are networks, and stand with the networks
    and kind != "gates"  # they stand with the chain-of-thought data that they check
    and kind != "suites"  # they stand with the evaluation that compares systems on them
)
STUDIO = (
    *("bell", "woodblock", "glass", "drum", "ball", "coin", "shaker"),
    *("marble", "cart", "whistle", "engine", "buzzer"),
)
"""The things that sound in the studio."""
PATHS = {
    "generate": {
        "cli/generate.py": ["main"],
        "inference/pipeline.py": ["PrismAudio.generate", "PrismAudio.read", "PrismAudio.plan"],
    },
    "fit foundation": {"training/foundation.py": ["FoundationTask", "FoundationTask.training_step"]},
    "fit fast-grpo": {"training/fast_grpo.py": ["FastGrpoTask", "FastGrpoTask.training_step"]},
    "score": {"cli/score.py": ["main"], "evaluation/run.py": ["ScoreRun"], "evaluation/files.py": ["score_file"]},
}
"""The four main paths, and where each of them is read."""


def test_only_training_has_folders_of_its_own():
    deep = {path.parent.relative_to(PACKAGE).as_posix() for path in MODULES if len(path.relative_to(PACKAGE).parts) > 2}
    assert deep == {"training/callbacks", "training/grpo"}


def names_in(path):
    """Functions, classes and methods that a module defines."""
    found = set()
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef):
            found.add(node.name)
        if isinstance(node, ast.ClassDef):
            found |= {f"{node.name}.{inner.name}" for inner in node.body if isinstance(inner, ast.FunctionDef)}
    return found


@pytest.mark.parametrize("name", PATHS)
def test_a_main_path_is_read_where_the_design_says(name):
    for module, wanted in PATHS[name].items():
        assert names_in(PACKAGE / module) >= set(wanted), module


def test_the_core_does_not_know_what_sounds_in_the_studio():
    pattern = re.compile(rf"\b(?:{'|'.join(STUDIO)})s?\b", re.IGNORECASE)
    texts = [path for path in PACKAGE.rglob("*") if path.suffix in (".py", ".yaml", ".in", ".md")]
    found = {
        f"{path.relative_to(PACKAGE)}: {match[0]}"
        for path in texts
        for match in pattern.finditer(path.read_text(encoding="utf-8"))
    }
    assert found == set()


def test_the_core_imports_no_plugin():
    for path in MODULES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            assert not any(name.startswith("prismaudio_") for name in names), path


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
    texts = [path for path in texts if path.name != ".git"]  # that of a worktree is a file
    assert [str(path) for path in texts if path.is_file() and pattern.search(path.read_text(errors="ignore"))] == []
