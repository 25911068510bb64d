"""The how-to pages run, with an endpoint of ours in place of the one that they name."""

from __future__ import annotations

import doc_pages as pages
import pytest
from chat_server import serving


@pytest.mark.slow
@pytest.mark.parametrize("page", ["let-a-vlm-plan", "build-cot-data"])
def test_a_page_does_what_it_says(page, tmp_path, monkeypatch):
    if not pages.HAS_STUDIO:
        pytest.skip("prismaudio-studio is not installed")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    with serving() as server:
        server.models = ("Qwen/Qwen3-VL-8B-Instruct",)
        monkeypatch.setenv("OPENAI_BASE_URL", server.url)
        assert pages.run_page(pages.DOCS / "how-to" / f"{page}.md", tmp_path) == []
        assert server.questions
