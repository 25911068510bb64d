"""The pages that lead from the paper, the architecture and old names to the code name what is there."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = ["paper-map.md", "paper-equations.md", "architecture.md"]
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
                elif path and path.endswith(".py") and re.fullmatch(r"[A-Za-z_]\w*(\.\w+)?", item):
                    yield path, item


def problem(path, name):
    found = [folder / path for folder in (ROOT / "src" / "prismaudio", ROOT) if (folder / path).exists()]
    if not found:
        return f"there is no {path}"
    owner, _, method = (name or "").partition(".")
    if not name:
        return None
    text = found[0].read_text(encoding="utf-8")
    defined = re.search(rf"^\s*(def|class) {owner}\b|^{owner}\b", text, re.MULTILINE)
    if defined and method:
        body = re.split(r"\n(?=\S)", text[defined.end() :], maxsplit=1)[0]
        defined = re.search(rf"^    def {method}\b", body, re.MULTILINE)
    return None if defined else f"{path} has no {name}"


@pytest.mark.parametrize("page", PAGES)
def test_what_a_map_names_is_there(page):
    found = list(places(page))
    assert len(found) > 10
    assert [said for path, name in found if (said := problem(path, name))] == []


def test_the_layers_are_those_of_the_contract():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    contract = next(c for c in project["tool"]["importlinter"]["contracts"] if c["type"] == "layers")
    layers = [sorted(layer.split(" | ")) for layer in contract["layers"]]
    text = (ROOT / "docs" / "explanation" / "architecture.md").read_text(encoding="utf-8")
    table = text.partition("| Layer | What is there |")[2].partition("\n\n")[0]
    told = [sorted(ITEM.findall(cell)) for cell in re.findall(r"^\| ((?:`\w+`(?:, )?)+) \|", table, re.MULTILINE)]
    assert told == layers
    drawn = re.findall(r">(\w+)</text>", (ROOT / "docs" / "assets" / "layers.svg").read_text(encoding="utf-8"))
    assert {name for layer in layers for name in layer} <= set(drawn)


def test_what_is_not_there_is_found():
    assert problem("flow/kernels.py", "RhoKernel") is None
    assert problem("flow/kernels.py", "Nothing") == "flow/kernels.py has no Nothing"
    assert problem("flow/nothing.py", None) == "there is no flow/nothing.py"
    assert problem("inference/pipeline.py", "PrismAudio.generate") is None
    assert problem("inference/pipeline.py", "Request.generate") == "inference/pipeline.py has no Request.generate"


def renamed():
    """(Old names, new names) of each row of the page of renamed things, as far as code spans give them."""
    text = (ROOT / "docs" / "reference" / "renamed.md").read_text(encoding="utf-8")
    for row in re.findall(r"^\| (.+) \|$", text, re.MULTILINE):
        cells = [ITEM.findall(cell) for cell in row.split(" | ")]
        if cells[0]:
            yield cells


def sources():
    files = [path for folder in ("src", "plugins", "benchmarks") for path in (ROOT / folder).rglob("*.py")]
    return {path: path.read_text(encoding="utf-8") for path in files}


def test_what_is_listed_as_a_new_name_is_there():
    texts = sources()
    words = {word for text in texts.values() for word in re.findall(r"\w+", text)}
    modules = [path.with_suffix("").as_posix().removesuffix("/__init__") for path in texts]
    lost = []
    for _, *new in renamed():
        for item in (item for cell in new for item in cell):
            if re.fullmatch(r"prismaudio\w*(\.\w+)*", item):
                place = "/" + item.replace(".", "/")
                lost += [] if any(module.endswith(place) for module in modules) else [item]
            elif not re.search(r"[-/ …]", item):
                lost += [word for word in re.findall(r"[A-Za-z_]\w+", item) if word not in words]
    assert lost == []


def test_what_is_listed_as_an_old_class_is_gone():
    classes = {name for text in sources().values() for name in re.findall(r"^class (\w+)", text, re.MULTILINE)}
    kept = []
    for old, new, *_ in renamed():
        gone = {item for item in old if re.fullmatch(r"[A-Z][a-z]\w+", item)} - {"ModelBenchmark"}  # there are two
        kept += sorted(gone & classes - set(new))
    assert kept == []
