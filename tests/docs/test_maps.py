"""The pages that lead from the paper and the layers to the code name what is there."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = ["paper-map.md", "paper-equations.md", "layers.md"]
ITEM = re.compile(r"`([^`]+)`")


def places(page):
    """(File or folder, name in it or None) for each that a table of the page mentions."""
    for row in (ROOT / "docs" / "explanation" / page).read_text(encoding="utf-8").splitlines():
        for cell in row.split("|")[1:-1]:
            path = None
            for item in ITEM.findall(cell):
                if re.fullmatch(r"[\w/]+\.(py|yaml)|tests/\w+", item):
                    path = item
                    yield path, None
                elif path and path.endswith(".py") and re.fullmatch(r"[A-Za-z_]\w*", item):
                    yield path, item


def problem(path, name):
    found = [folder / path for folder in (ROOT / "src" / "prismaudio", ROOT) if (folder / path).exists()]
    if not found:
        return f"there is no {path}"
    if name and not re.search(
        rf"^\s*(def|class) {name}\b|^{name}\b", found[0].read_text(encoding="utf-8"), re.MULTILINE
    ):
        return f"{path} has no {name}"
    return None


@pytest.mark.parametrize("page", PAGES)
def test_what_a_map_names_is_there(page):
    found = list(places(page))
    assert len(found) > 10
    assert [said for path, name in found if (said := problem(path, name))] == []


def test_the_layers_are_those_of_the_contract():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    contract = next(c for c in project["tool"]["importlinter"]["contracts"] if c["type"] == "layers")
    text = (ROOT / "docs" / "explanation" / "layers.md").read_text(encoding="utf-8")
    told = [sorted(ITEM.findall(cell)) for cell in re.findall(r"^\| ((?:`\w+`(?:, )?)+) \|", text, re.MULTILINE)]
    assert told == [sorted(layer.split(" | ")) for layer in contract["layers"]]


def test_what_is_not_there_is_found():
    assert problem("flow/kernels.py", "RhoKernel") is None
    assert problem("flow/kernels.py", "Nothing") == "flow/kernels.py has no Nothing"
    assert problem("flow/nothing.py", None) == "there is no flow/nothing.py"
