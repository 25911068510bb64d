"""The code blocks of the documentation and of the README run, and print what the pages show."""

from __future__ import annotations

import re

import doc_pages as pages
import pytest

ALL = sorted(pages.DOCS.rglob("*.md"))


def runnable(page):
    found = pages.blocks(page.read_text(encoding="utf-8"))
    return any(block.language in pages.RUN and not block.title and not block.remark for block in found)


def needs_studio(page):
    return pages.NEEDS_STUDIO in page.read_text(encoding="utf-8")


@pytest.mark.slow
@pytest.mark.parametrize("page", [p for p in ALL if runnable(p)], ids=lambda p: p.relative_to(pages.DOCS).as_posix())
def test_a_page_does_what_it_says(page, tmp_path):
    if needs_studio(page) and not pages.HAS_STUDIO:
        pytest.skip("prismaudio-studio is not installed")
    if pages.NEEDS_VLM in page.read_text(encoding="utf-8"):
        pytest.skip("the tests of prismaudio-vlm run it, with an endpoint")
    assert pages.run_page(page, tmp_path) == []


@pytest.mark.slow
def test_the_marked_blocks_of_the_readme_run(tmp_path):
    readme = pages.ROOT / "README.md"
    if needs_studio(readme) and not pages.HAS_STUDIO:
        pytest.skip("prismaudio-studio is not installed")
    assert pages.run_page(readme, tmp_path, marked_only=True) == []


@pytest.mark.parametrize("page", ALL, ids=lambda p: p.relative_to(pages.DOCS).as_posix())
def test_a_page_that_uses_the_studio_declares_it(page):
    """A page that is skipped without the studio has a block that needs it, and one that has such a block says so."""
    found = [b for b in pages.blocks(page.read_text(encoding="utf-8")) if b.language in pages.RUN and not b.remark]
    assert any(uses_studio(block.code) for block in found if not block.title) == needs_studio(page)


def uses_studio(code):
    """Whether a block needs the studio: its model where none is named, its commands, its classes."""
    default = "--model" not in code and re.search(r"prismaudio (generate|plan|extract) |from_pretrained\(\)", code)
    return bool(default or re.search(r"\bstudio\b|\bprismaudio_studio\b", code))


def test_a_wrong_page_is_found_out(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("```bash\necho one\n```\n\n```text\ntwo\n```\n")
    assert "printed:\none" in pages.run_page(page, tmp_path)[0]


def test_a_failing_block_is_found_out(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("```python\nraise SystemExit(3)\n```\n")
    assert "exit code 3" in pages.run_page(page, tmp_path)[0]
