"""The HTML page of rows: its data, what it draws of the sound, and that nothing in a row becomes markup or a script."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
import soundfile

import prismaudio.cot
from prismaudio.cli.main import main
from prismaudio.cot.page import DIGITS, N_LEVELS, entry_of, is_page, page_html, sound_of
from prismaudio.cot.rows import CotRow

RATE_HZ = 16_000
HOSTILE = "</script><img src=x onerror=alert(1)>{{script}}\u2028'\"&amp;<!--"


class Page(HTMLParser):
    """Elements of a page with their attributes, and the text of its scripts and styles."""

    def __init__(self, text):
        super().__init__(convert_charrefs=True)
        self.elements, self.texts, self.is_closed = [], [], True
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        self.texts.append("")
        self.is_closed = False

    def handle_data(self, data):
        if self.elements and not self.is_closed:
            self.texts[-1] += data

    def handle_endtag(self, tag):
        self.is_closed = True

    def all(self, tag):
        return [(attrs, text) for (name, attrs), text in zip(self.elements, self.texts, strict=True) if name == tag]

    @property
    def data(self):
        return json.loads(next(text for attrs, text in self.all("script") if attrs.get("id") == "data"))


@pytest.fixture
def clips(tmp_path):
    """``clicks.wav`` of 3 s with clicks: on the left at 1.2 s, on the right at 2.2 s; and an empty folder ``cot``."""
    (tmp_path / "cot").mkdir()
    audio = np.zeros((3 * RATE_HZ, 2), dtype=np.float32)
    for channel, time_s in ((0, 1.2), (1, 2.2)):
        burst = np.random.default_rng(0).uniform(-0.8, 0.8, RATE_HZ // 10) * np.linspace(1, 0, RATE_HZ // 10)
        start = round(time_s * RATE_HZ)
        audio[start : start + len(burst), channel] = burst
    soundfile.write(tmp_path / "clicks.wav", audio, RATE_HZ, subtype="FLOAT")
    return tmp_path


def row(name="a", **values):
    clip = {"audio": "../clicks.wav", "start_s": 1.0, "end_s": 3.0}
    sections = {"semantic": "A dog barks.", "temporal": "The dog sounds at 0.20 s."}
    return CotRow(name, **{"clip": clip, "duration_s": 2.0, "sections": sections, **values})


def entry(one, folder, **values):
    return entry_of(one, one.plan.story, {}, folder, folder / "index.html", **values)


def test_the_sound_of_a_piece_of_a_file_is_drawn_by_channel(clips):
    sound = sound_of(row(), clips / "cot")
    assert sound["onsets_s"] == pytest.approx([0.2, 1.2], abs=0.02)
    left, right = ([DIGITS.index(digit) for digit in channel] for channel in sound["levels"])
    assert (len(left), len(right)) == (N_LEVELS, N_LEVELS)
    assert np.argmax(left) / N_LEVELS == pytest.approx(0.1, abs=0.02)
    assert np.argmax(right) / N_LEVELS == pytest.approx(0.6, abs=0.02)
    assert left[0] == right[0] == 0


@pytest.mark.parametrize(
    "clip", [{}, {"audio": 7}, {"audio": "../none.wav"}, {"video": "a\0b"}, {"audio": "../text.wav"}]
)
def test_a_sound_that_cannot_be_read_is_said_and_shows_no_path_of_the_machine(clips, clip):
    (clips / "text.wav").write_text("no sound")
    problem = sound_of(row(clip=clip), clips / "cot")["problem"]
    assert problem
    assert str(clips) not in problem


def test_an_entry_links_its_files_from_the_place_of_the_page(tmp_path):
    made = entry_of(row(), row().plan.story, {}, tmp_path / "cot", tmp_path / "pages" / "p.html")
    assert made["files"] == {"audio": {"name": "../clicks.wav", "url": "./../clicks.wav"}}
    assert made["start_s"] == 1.0
    assert made["sources"] == [{"what": "dog", "onsets_s": (0.2,), "end_s": None, "azimuth_deg": None}]
    named = entry(row(clip={"video": "javascript:alert(1)//"}), tmp_path)
    assert named["files"]["video"]["url"] == "./javascript%3Aalert%281%29"


def test_an_entry_keeps_gates_and_rewards_that_were_skipped_apart(tmp_path):
    one = row(skipped={"SideGate": "mono", "SpatialReward": "no weights"})
    made = entry(one, tmp_path, rewards=["SpatialReward"])
    assert made["skipped"] == {"SideGate": "mono"}
    assert made["unscored"] == {"SpatialReward": "no weights"}


def test_nothing_in_a_row_becomes_markup_or_a_script(tmp_path):
    one = CotRow(
        HOSTILE,
        {"video": HOSTILE, "audio": HOSTILE, "caption": HOSTILE},
        1.0,
        {"semantic": HOSTILE, HOSTILE: HOSTILE},
        HOSTILE,
        {"semantic": {"planner": HOSTILE, "model": HOSTILE, "tokens": HOSTILE}, HOSTILE: {}},
        [HOSTILE],
        {HOSTILE: HOSTILE},
        {HOSTILE: HOSTILE},
        {HOSTILE: 1.0},
    )
    made = entry(one, tmp_path)
    html = page_html(HOSTILE, [made], {HOSTILE: 0.5})
    page, plain = Page(html), Page(page_html("plain", [entry(row(), tmp_path)]))
    assert page.elements == plain.elements
    assert page.all("title")[0][1].startswith("</script><img")
    assert "onerror" not in re.sub(r'<script type="application/json".*?</script>', "", html.partition("<body>")[2])
    assert page.data["rows"] == json.loads(json.dumps([made]))
    assert page.data["rows"][0]["id"] == HOSTILE
    assert "\u2028" not in html.partition("<body>")[2]


def test_the_page_loads_nothing_and_runs_its_own_script_only(tmp_path):
    page = Page(page_html("cot", [entry(row(), tmp_path)]))
    policy = next(attrs["content"] for attrs, _ in page.all("meta") if "http-equiv" in attrs)
    rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))
    assert rules["default-src"] == "'none'"
    script = next(text for attrs, text in page.all("script") if not attrs)
    for kind, text in (("script-src", script), ("style-src", page.all("style")[0][1])):
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert rules[kind] == f"'sha256-{digest}'"
    for tag, attrs in page.elements:
        assert not {"src", "href", "style", "srcdoc"} & attrs.keys(), tag
        assert not any(name.startswith("on") for name in attrs), tag


def test_the_script_never_parses_text_as_markup_or_code():
    script = (Path(prismaudio.cot.__file__).parent / "page.js").read_text(encoding="utf-8")
    parses = r"(inner|outer|insertAdjacent)HTML|document\.write|DOMParser|\beval\b|\bFunction\(|ContextualFragment"
    assert re.findall(parses, script) == []
    assert "</script" not in script
    assert re.findall(r"https?://(?!www\.w3\.org/2000/svg)", script) == []


def test_sections_are_in_the_order_of_plans(tmp_path):
    rows = [row(sections={"spatial": "Left.", "loudness": "Loud."}), row("b", sections={"temporal": "At 1 s."})]
    page = Page(page_html("cot", [entry(one, tmp_path) for one in rows]))
    assert page.data["sections"] == ["temporal", "spatial", "loudness"]


def test_the_command_writes_the_page_into_the_folder_and_replaces_it(clips, capsys):
    folder = clips / "cot"
    (folder / "rows.jsonl").write_bytes(row().line() + row("b", clip={"audio": "none.wav"}).line())
    assert main(["cot", "inspect", str(folder), "--html"]) == 0
    assert is_page(folder / "index.html")
    assert main(["cot", "inspect", "--html", str(folder)]) == 0
    assert main(["cot", "inspect", str(folder), "--html", str(clips / "page.html")]) == 0
    capsys.readouterr()
    data = Page((folder / "index.html").read_text(encoding="utf-8")).data
    assert data["title"] == "Chain of thought: cot"
    assert [len(one["sound"].get("onsets_s", [])) for one in data["rows"]] == [2, 0]
    assert data["rows"][0]["files"]["audio"]["url"] == "./../clicks.wav"
    moved = Page((clips / "page.html").read_text(encoding="utf-8")).data
    assert moved["rows"][0]["files"]["audio"]["url"] == "./clicks.wav"
    assert sorted(path.name for path in folder.iterdir()) == ["index.html", "rows.jsonl"]
