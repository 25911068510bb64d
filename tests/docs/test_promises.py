"""No page and no docstring promises something for later, and what a page says is not included is not there."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = sorted(
    path
    for path in (
        *ROOT.glob("*.md"),
        *(ROOT / "docs").rglob("*.md"),
        *(ROOT / "plugins").glob("*/README.md"),
        *(ROOT / "src").rglob("*.md"),
    )
    if path.name != "CHANGELOG.md"
)
MODULES = sorted(path for folder in ("src", "plugins", "benchmarks") for path in (ROOT / folder).rglob("*.py"))
PROMISES = (
    *(r"\bwill be (?:added|there|available|possible|supported|released|built|written)\b", r"\bcoming (?:soon|next)\b"),
    *(
        r"\bplanned for\b(?! them\b)",
        r"\b(?:TODO|FIXME)\b",
        r"\b(?:future|later|next) (?:version|release)",
    ),
    *(
        r"\bnot (?:implemented|supported|available|included|there|possible) yet\b",
        r"\bnot yet\b",
        r"\bto be done\b",
    ),
    *(r"\bunder construction\b", r"\bfor now\b", r"\bnot built\b(?!, for it needs)"),
)
"""What neither a page nor a docstring says."""
ON_PAGES = (
    r"\bcomes? next\b",
    r"\byet\b",
    r"\bcoming (?!from\b)",
    r"\bwill be\b",
    r"\bsoon\b",
    r"(?<!that )\bis (?:still )?missing\b",
)
"""What no page says, though a docstring may: there it is about a state of the program."""
HARMLESS = re.compile(
    r"as soon as"
    r"|(?:…|weight|file|encoder|stream|its end|column|section|folder|\.pth)`? is missing"  # of users' files
)
ABSENT = ("VisionLanguage",)
"""Names of classes for what README and the map of the paper say is not included."""


def promises(text, patterns=PROMISES + ON_PAGES):
    """Promises in a text, each with a few words around it."""
    flat = HARMLESS.sub("-", " ".join(text.split()))
    matches = re.finditer("|".join(patterns), flat, re.IGNORECASE)
    return [flat[max(0, match.start() - 40) : match.end() + 40] for match in matches]


def docstrings(path):
    tree = ast.parse(path.read_text(encoding="utf-8"))
    kinds = (ast.Module, ast.ClassDef, ast.FunctionDef)
    return "\n".join(ast.get_docstring(node) or "" for node in ast.walk(tree) if isinstance(node, kinds))


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.relative_to(ROOT).as_posix())
def test_a_page_promises_nothing(page):
    assert promises(page.read_text(encoding="utf-8")) == []


def test_docstrings_promise_nothing():
    found = {path.relative_to(ROOT).as_posix(): promises(docstrings(path), PROMISES) for path in MODULES}
    assert {path: said for path, said in found.items() if said} == {}


@pytest.mark.parametrize("name", ABSENT)
def test_what_pages_call_absent_is_absent(name):
    """With such a class, README, index.md, paper-map.md and use-your-own-checkpoint.md have to change."""
    assert [
        path for path in MODULES if re.search(rf"^class \w*{name}", path.read_text(encoding="utf-8"), re.MULTILINE)
    ] == []


def test_promises_are_found():
    said = [
        "It is not yet there.",
        "Support is planned for summer.",
        "A sampler will be added.",
        "TODO",
        "It is not built.",
    ]
    assert all(promises(text) for text in said)
    assert promises("A line as soon as it is scored; a file is missing.") == []
