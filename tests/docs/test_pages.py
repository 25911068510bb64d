"""The code blocks of the documentation and of the README run, and print what the pages show."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest

_SPEC = importlib.util.spec_from_file_location("docs_pages", Path(__file__).with_name("pages.py"))
pages = importlib.util.module_from_spec(_SPEC)  # tests are no package, so their own modules are loaded by path
sys.modules["docs_pages"] = pages
_SPEC.loader.exec_module(pages)

ALL = sorted(pages.DOCS.rglob("*.md"))


def runnable(page):
    found = pages.blocks(page.read_text(encoding="utf-8"))
    return any(block.language in pages.RUN and not block.title and not block.remark for block in found)


def needs_model(page):
    return pages.NEEDS_MODEL in page.read_text(encoding="utf-8")


@pytest.mark.slow
@pytest.mark.parametrize("page", [p for p in ALL if runnable(p)], ids=lambda p: p.relative_to(pages.DOCS).as_posix())
def test_a_page_does_what_it_says(page, tmp_path):
    if needs_model(page) and not pages.EMBEDDED.exists():
        pytest.skip("the embedded weights are not in src/prismaudio/embedded yet")
    assert pages.run_page(page, tmp_path) == []


def test_the_marked_blocks_of_the_readme_run(tmp_path):
    readme = pages.ROOT / "README.md"
    if needs_model(readme) and not pages.EMBEDDED.exists():
        pytest.skip("the embedded weights are not in src/prismaudio/embedded yet")
    assert pages.run_page(readme, tmp_path, marked_only=True) == []


@pytest.mark.parametrize("page", ALL, ids=lambda p: p.relative_to(pages.DOCS).as_posix())
def test_a_page_that_uses_the_embedded_model_says_so(page):
    """A page is skipped for want of weights only if it has a block that needs them."""
    run = [b for b in pages.blocks(page.read_text(encoding="utf-8")) if b.language in pages.RUN and not b.remark]
    words = ("prismaudio generate", "prismaudio plan", "from_pretrained()")
    uses = any(word in block.code for block in run if not block.title for word in words)
    assert uses <= needs_model(page)


def test_a_wrong_page_is_found_out(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("```bash\necho one\n```\n\n```text\ntwo\n```\n")
    assert "printed:\none" in pages.run_page(page, tmp_path)[0]


def test_a_failing_block_is_found_out(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("```python\nraise SystemExit(3)\n```\n")
    assert "exit code 3" in pages.run_page(page, tmp_path)[0]
