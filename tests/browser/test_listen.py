"""A listening test in Chromium: answers need listening, survive a reload, and are those that are collected."""

from __future__ import annotations

import json
import shutil

import pytest

from prismaudio.cli.main import main
from prismaudio.evaluation.listening import NOISE, TRUTH, Key

pytestmark = pytest.mark.browser

PLAY = "video => { video.muted = true; video.playbackRate = 8; return video.play(); }"
IS_OVER = "number => document.querySelectorAll('#players video')[number].ended"
PLACES = {NOISE: 1, "small": 3, TRUTH: 4}


@pytest.fixture
def test(evaluation, tmp_path):
    """A copy of the evaluation, and the key of a test of it."""
    folder = tmp_path / "out"
    shutil.copytree(evaluation, folder)
    assert main(["listen", str(folder), "--forms", "2", "--clips", "2", "--pairs", "2", "--checks", "1"]) == 0
    return folder, Key.from_dict(json.loads((folder / "listening-key.json").read_text()), "key")


def answer(page, key):
    """Listen to a trial and answer it by keys or by mouse, as somebody who hears what is better."""
    videos = page.locator("#players video")
    assert page.is_disabled("#next")
    page.keyboard.press("1")  # before listening it answers nothing
    systems = []
    for number in range(videos.count()):
        video = videos.nth(number)
        systems.append(key.stimuli[video.get_attribute("src").removeprefix("media/").removesuffix(".mp4")][1])
        video.evaluate(PLAY)
        page.wait_for_function(IS_OVER, arg=number)
    places = [PLACES[system] for system in systems]
    page.wait_for_selector("#answers fieldset:enabled")
    if len(places) == 1:
        for _ in range(2):
            page.keyboard.press(str(places[0]))
    else:
        page.locator("#answers label").nth(0 if places[0] > places[1] else 2).click()
    page.wait_for_selector("#next:enabled")


def test_a_listener_answers_saves_and_is_counted(test, chromium, tmp_path):
    folder, key = test
    page = chromium.new_page(viewport={"width": 900, "height": 900})
    problems = []
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on("console", lambda message: problems.append(message.text) if message.type == "error" else None)
    page.goto((folder / "listening" / "index.html").as_uri() + "?form=2")
    page.fill("#rater", "Ann <b>")
    page.click("#begin")
    for number in range(len(key.forms[1])):
        assert page.inner_text("#where") == f"Trial {number + 1} of {len(key.forms[1])}"
        answer(page, key)
        if number == 1:
            page.reload()
            assert page.is_enabled("#next")
        if number == 2:
            page.set_viewport_size({"width": 390, "height": 844})
            assert page.evaluate("document.documentElement.scrollWidth") <= 390
        page.click("#next")
    with page.expect_download() as download:
        page.click("#save")
    download.value.save_as(tmp_path / "answers.json")
    page.close()
    assert problems == []
    assert main(["listen", str(folder), "--collect", str(tmp_path / "answers.json")]) == 0
    found = json.loads((folder / "listening.json").read_text())
    assert (found["listeners"], found["notes"]) == (1, [])
    assert {name: score["MOS-C"]["mean"] for name, score in found["scores"].items()} == {"small": 3.0, TRUTH: 4.0}
    (pair,) = found["preferences"]
    assert (pair["wins"], pair["losses"], pair["ties"]) == (0, 2, 0)
    (saved,) = [json.loads((tmp_path / "answers.json").read_text())]
    assert (saved["rater"], saved["form"], len(saved["answers"])) == ("Ann <b>", 1, len(key.forms[1]))


def test_a_clip_that_was_moved_away_does_not_stop_the_test(test, chromium):
    folder, _ = test
    for path in (folder / "listening" / "media").iterdir():
        path.unlink()
    page = chromium.new_page()
    page.goto((folder / "listening" / "index.html").as_uri())
    page.click("#begin")
    page.wait_for_selector(".problem")
    assert "cannot be played" in page.inner_text("#players")
    assert page.is_enabled("#next")
    assert page.locator("#answers fieldset:enabled").count() == 0
    page.close()
