"""The pages that lead from the paper to the code name files that are there, and what is in them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = ["paper-map.md", "paper-equations.md"]
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
    assert len(found) > 20
    assert [said for path, name in found if (said := problem(path, name))] == []


def test_what_is_not_there_is_found():
    assert problem("flow/kernels.py", "RhoKernel") is None
    assert problem("flow/kernels.py", "Nothing") == "flow/kernels.py has no Nothing"
    assert problem("flow/nothing.py", None) == "there is no flow/nothing.py"
