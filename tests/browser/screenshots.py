"""Writes the pictures of the report in the docs: ``python tests/browser/screenshots.py EVALUATION docs/assets``."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "support"))

from browser import browser


def main(evaluation: Path, folder: Path) -> None:
    """Draw the report on a desk, an open clip, and the report on a phone."""
    address = (evaluation / "report.html").resolve().as_uri()
    ready = "() => [...document.querySelectorAll('#media > *')].every((medium) => medium.readyState >= 3)"
    with browser() as chromium:
        page = chromium.new_page(viewport={"width": 1180, "height": 860})
        page.goto(address)
        page.screenshot(path=folder / "report.png")
        page.locator("#clips-table .link").nth(1).click()
        page.wait_for_function(ready)
        page.evaluate("player.seek(2.6)")
        page.wait_for_timeout(500)
        page.screenshot(path=folder / "report_clip.png")
        phone = chromium.new_page(viewport={"width": 390, "height": 844})
        phone.goto(address)
        phone.locator("#clips-table .link").nth(1).click()
        phone.wait_for_function(ready)
        phone.evaluate("player.seek(2.6)")
        phone.wait_for_timeout(500)
        phone.screenshot(path=folder / "report_phone.png")


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
