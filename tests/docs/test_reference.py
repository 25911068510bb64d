"""The reference says what the code says."""

from __future__ import annotations

import importlib.util
import inspect
import json
import re
import sys
from pathlib import Path

import pytest

from prismaudio import hookspecs
from prismaudio.cli.main import COMMANDS
from prismaudio.cli.plugins import row
from prismaudio.registry import Plugin

_SPEC = importlib.util.spec_from_file_location("docs_generated", Path(__file__).with_name("generated.py"))
generated = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(generated)

DOCS = Path(__file__).parents[2] / "docs"
PACKAGE = Path(hookspecs.__file__).parent
AGAIN = "run python tests/docs/generated.py"
needs_studio = pytest.mark.skipif(
    importlib.util.find_spec("prismaudio_studio") is None, reason="the page is about prismaudio-studio, too"
)


def page(name):
    return (DOCS / name).read_text(encoding="utf-8")


@needs_studio
@pytest.mark.skipif(sys.version_info[:2] != (3, 11), reason="argparse's layout differs between versions of Python")
def test_the_command_line_page_is_what_help_prints():
    assert page("reference/cli.md") == generated.cli_page(), AGAIN


@needs_studio
def test_the_components_page_is_what_the_hooks_return():
    assert page("reference/components.md") == generated.components_page(), AGAIN


@needs_studio
def test_the_api_page_has_what_is_public():
    assert page("reference/api.md") == generated.api_page(), AGAIN
    assert "::: prismaudio.training.fast_grpo.FastGrpoTask" in generated.api_page()


def test_every_command_has_a_section():
    sections = re.findall(r"^## prismaudio (.+)$", page("reference/cli.md"), re.MULTILINE)
    told = {word.strip() for title in sections for word in (title.split(",") if "," in title else [title.split()[0]])}
    of_the_studio = {command.split()[0] for command in generated.COMMANDS["prismaudio-studio"]}
    assert told == {*COMMANDS, *of_the_studio}


@pytest.mark.parametrize("hook", generated.hook_signatures())
def test_every_hook_has_a_section_with_its_exact_signature(hook):
    text = page("reference/hooks.md")
    section = re.search(rf"^## {hook}$(.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL)
    assert section, f"reference/hooks.md has no section {hook}"
    assert f"```py\n{generated.hook_signatures()[hook]}\n```" in section[1]
    assert inspect.getdoc(getattr(hookspecs, hook)) in section[1]


def test_the_hooks_page_has_no_other_hooks():
    told = re.findall(r"^## (prismaudio_\w+)$", page("reference/hooks.md"), re.MULTILINE)
    assert told == [f"prismaudio_{kind}" for kind in hookspecs.KINDS]


@pytest.mark.parametrize("kind", hookspecs.KINDS)
def test_every_hook_has_an_example_that_runs(kind):
    section = re.search(
        rf"^## prismaudio_{kind}$(.*?)(?=^## |\Z)", page("reference/hooks.md"), re.MULTILINE | re.DOTALL
    )
    assert re.search(rf"^```python\n(?:.*\n)*?def prismaudio_{kind}\(\):$", section[1], re.MULTILINE)


@pytest.mark.parametrize("kind", hookspecs.KINDS)
def test_hook_folder_contract_and_docs_are_one_word(kind):
    assert f"## prismaudio_{kind}\n" in page("reference/hooks.md")
    assert f"## {kind}\n" in page("reference/components.md")
    assert f"**{kind[:-1].replace('_', ' ')}**" in page("explanation/glossary.md")
    module, _, name = hookspecs.CONTRACTS.get(kind, "").partition(":")
    if module.startswith("prismaudio."):
        assert (PACKAGE.parent / module.replace(".", "/")).with_suffix(".py").is_file()
        assert f"::: {module}.{name}" in page("reference/api.md")


def test_the_plugin_json_has_the_documented_keys():
    keys = list(row("rewards", "X", "m:X", "", None, Plugin("p", "m"), "ok", ""))
    text = page("reference/json-outputs.md").partition("## prismaudio plugins list")[2]
    told = re.findall(r"^\| `(\w+)` \|", text, re.MULTILINE)
    assert told[: len(keys)] == keys


def test_every_page_is_in_the_navigation():
    nav = (DOCS.parent / "mkdocs.yml").read_text(encoding="utf-8")
    missing = [str(p.relative_to(DOCS)) for p in DOCS.rglob("*.md") if p.relative_to(DOCS).as_posix() not in nav]
    assert missing == []


def anchors(path):
    """The anchors of a page: its headings, and what mkdocstrings documents."""
    text = re.sub(r"^```.*?^```", "", path.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    heads = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[-\s]+", "-", re.sub(r"[^\w\s-]", "", head).strip().lower()) for head in heads} | {
        *re.findall(r"^::: ([\w.]+)$", text, re.MULTILINE)
    }


def test_links_between_pages_lead_somewhere():
    links = re.compile(r"\]\((?!https?:)([^)#\s]+)(?:#([\w.-]+))?\)")
    lost = []
    for path in (*DOCS.rglob("*.md"), *DOCS.parent.glob("*.md")):
        for target, anchor in links.findall(path.read_text(encoding="utf-8")):
            page = path.parent / target
            if not page.exists() or (anchor and not {anchor, anchor.rpartition(".")[0]} & anchors(page)):
                lost.append(f"{path.relative_to(DOCS.parent)}: {target}#{anchor}")
    assert lost == []


def test_nothing_is_loaded_from_elsewhere():
    nav = (DOCS.parent / "mkdocs.yml").read_text(encoding="utf-8")
    assert "font: false" in nav
    assert not re.search(r"extra_(css|javascript)", nav)
    for path in DOCS.rglob("*.md"):
        text = path.read_text(encoding="utf-8")
        assert "```mermaid" not in text, f"{path.name}: the theme loads mermaid from elsewhere; draw an SVG"
        assert not re.search(r"!\[[^\]]*\]\(https?:|<(?:img|script|iframe)\b", text), path.name
    for path in (DOCS / "assets").glob("*.svg"):
        text = path.read_text(encoding="utf-8").replace("http://www.w3.org/2000/svg", "")
        assert not re.search(r"https?:|<script|href=|url\((?!#)", text), path.name


def test_json_on_the_pages_is_json():
    for path in DOCS.rglob("*.md"):
        for text in re.findall(r"^```json\n(.*?)^```", path.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL):
            json.loads(text)


def test_the_readme_names_every_plugin_of_the_repository():
    text = (DOCS.parent / "README.md").read_text(encoding="utf-8")
    table = text.partition("| The plugins of this repository |")[2].partition("\n\n")[0]
    assert sorted(re.findall(r"`(prismaudio-[\w-]+)`", table)) == sorted(
        folder.name for folder in (DOCS.parent / "plugins").iterdir() if (folder / "pyproject.toml").is_file()
    )
