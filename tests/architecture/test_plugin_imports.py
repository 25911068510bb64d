"""What plugins import from the core exists, also in those that the common environments do not install."""

from __future__ import annotations

import ast
import importlib
import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[2]
FILES = sorted(ROOT.glob("plugins/*/src/**/*.py"))


def lacking(tree: ast.Module) -> list[str]:
    """Names that a module imports from prismaudio and that are not there."""
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] == "prismaudio":
            module = importlib.import_module(node.module)
            missing = [alias.name for alias in node.names if not hasattr(module, alias.name)]
            found += [f"{node.module}.{name}" for name in missing if not is_module(module, name)]
    return found


def is_module(package: ModuleType, name: str) -> bool:
    return hasattr(package, "__path__") and importlib.util.find_spec(f"{package.__name__}.{name}") is not None


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT / "plugins")))
def test_what_a_plugin_imports_from_the_core_is_there(path):
    assert lacking(ast.parse(path.read_text(encoding="utf-8"))) == []


def test_what_is_not_there_is_named():
    assert lacking(ast.parse("from prismaudio.checkpoints import Configured, Nothing")) == [
        "prismaudio.checkpoints.Nothing"
    ]
