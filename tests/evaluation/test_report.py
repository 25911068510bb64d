"""The report of an evaluation: its data, that nothing in them becomes markup, its tables, and damaged folders."""

from __future__ import annotations

import base64
import csv
import io
import json
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path

import evaluations
import numpy as np
import pytest
import soundfile
import torch

import prismaudio
from prismaudio.cli.main import main
from prismaudio.data.manifest import ManifestEntry
from prismaudio.errors import DataError
from prismaudio.evaluation import exports, report
from prismaudio.evaluation.comparison import Cell, Comparison, EvaluationFolder
from prismaudio.evaluation.intervals import MeanInterval
from prismaudio.evaluation.reading import read_evaluation
from prismaudio.evaluation.report import page_html, write_report
from prismaudio.evaluation.report_data import report_data
from prismaudio.media import write_video
from prismaudio.plan import Plan

RATE_HZ = 16_000
HOSTILE = "</script><img src=x onerror=alert(1)>{{script}}\u2028'\"&amp;<!--"


class Elements(HTMLParser):
    """Elements of a page with their attributes, and the JSON of its data."""

    def __init__(self, text):
        super().__init__(convert_charrefs=True)
        self.found, self.text, self._is_data = [], "", False
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))
        self._is_data = dict(attrs).get("id") == "data"

    def handle_data(self, data):
        self.text += data if self._is_data else ""

    def handle_endtag(self, tag):
        self._is_data = False


def data_of(path):
    return json.loads(Elements(Path(path).read_text(encoding="utf-8")).text)


def click(begin_s, length_s=1.0):
    audio = np.zeros((round(length_s * RATE_HZ), 2), dtype=np.float32)
    begin = round(begin_s * RATE_HZ)
    audio[begin : begin + 1600] = (
        np.random.default_rng(0).uniform(-0.5, 0.5, (1600, 2)) * np.linspace(1, 0, 1600)[:, None]
    )
    return audio


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """An evaluation of seven clips by two systems, one of which lacks two; media and spectrograms of the first two."""
    place = tmp_path_factory.mktemp("made") / "out"
    evaluations.make_evaluation(place, 7, lacking=2)
    for part in ("media", "audio/one", "audio/two"):
        (place / part).mkdir(parents=True)
    for index in range(2):
        write_video(torch.zeros(8, 3, 32, 32, dtype=torch.uint8), 8, place / f"media/clip{index:04d}.mp4")
        for part, begin_s in (("media", 0.3), ("audio/one", 0.3), ("audio/two", 0.5)):
            soundfile.write(place / part / f"clip{index:04d}.wav", click(begin_s), RATE_HZ)
    write_report(place)
    (place / "report.html").unlink()
    return place


@pytest.fixture
def folder(made, tmp_path):
    """A copy of that evaluation."""
    return shutil.copytree(made, tmp_path / "out")


# Data of the page
def test_the_page_has_what_the_folder_has(folder):
    warnings = write_report(folder)
    data = data_of(folder / "report.html")
    found = json.loads((folder / "results.json").read_text(encoding="utf-8"))
    assert [one["name"] for one in data["systems"]] == ["one", "two"]
    assert [one["clips"] for one in data["systems"]] == [7, 5]
    assert [one["name"] for one in data["groups"]] == ["all clips", "events: multi", "events: single"]
    assert [one["dimension"] for one in data["scorers"]] == ["temporal", "spatial", "spatial", "spatial"]
    cell = found["groups"]["all clips"]["TemporalReward"]["two"]
    assert data["groups"][0]["cells"][0][1] == pytest.approx(
        [cell[key] for key in ("value", "n", "low", "high", "difference", "difference_low", "difference_high")],
        rel=1e-4,
    )
    assert data["clips"][1]["groups"] == [0, 2]
    assert data["clips"][0]["video"] == "./media/clip0000.mp4"
    assert data["clips"][0]["events"] == [["bell", [0.3], None, None]]
    first, second = (one["clips"] for one in data["sources"][:2])
    assert first[0]["on"] == pytest.approx([0.3], abs=0.02)
    assert second[0]["on"] == pytest.approx([0.5], abs=0.02)
    assert first[0]["s"] == 1.0
    assert (first[5]["lost"], second[5]) == (True, None)
    assert data["values"][1][0][5:] == [None, None]
    assert [line.partition(":")[0] for line in warnings] == [
        "5 of 7 videos are not there",
        "5 of 7 files of audio of one are not there",
        "3 of 5 files of audio of two are not there",
        "5 of 7 files of true audio are not there",
    ]


def test_columns_with_a_class_divide_clips(folder):
    found = read_evaluation(folder)
    data = report_data(found, folder / "report.html", None)
    assert [(one["name"], one["grouped"]) for one in data["columns"]] == [
        ("events", True)
    ]  # each clip has its own class
    clips = [evaluations.clip(index, folder, **{"class": "bell" if index < 4 else "dog"}) for index in range(7)]
    evaluations.make_evaluation(folder, clips=clips)
    data = report_data(read_evaluation(folder), folder / "report.html", None)
    assert data["columns"][1] == {"name": "class", "values": ["bell", "dog"], "grouped": False}
    assert [one["classes"][1] for one in data["clips"]] == [0, 0, 0, 0, 1, 1, 1]


def test_spectrograms_are_made_once_for_each_file(folder):
    write_report(folder)
    images = sorted(path.relative_to(folder / "report").as_posix() for path in (folder / "report").rglob("*.webp"))
    expected = [
        f"{part}/clip000{number}.webp" for part in ("reference", "systems/one", "systems/two") for number in (0, 1)
    ]
    assert images == expected
    before = {path: path.stat().st_mtime_ns for path in (folder / "report").rglob("*.webp")}
    soundfile.write(folder / "audio/two/clip0001.wav", click(0.7), RATE_HZ)
    write_report(folder)
    changed = [path.name for path, at in before.items() if path.stat().st_mtime_ns != at]
    assert changed == ["clip0001.webp"]
    assert data_of(folder / "report.html")["sources"][1]["clips"][1]["on"] == pytest.approx([0.7], abs=0.02)


def test_audio_that_cannot_be_read_is_said(folder):
    (folder / "audio/one/clip0000.wav").write_bytes(b"RIFF")
    write_report(folder)
    facts = data_of(folder / "report.html")["sources"][0]["clips"][0]
    assert "problem" in facts
    assert str(folder) not in facts["problem"]


def test_the_plan_that_a_model_wrote_is_shown_with_its_events(folder):
    text = "<Semantic> A dog barks. <Temporal> The dog sounds at 0.50 s."
    (folder / "audio/two/clip0000.json").write_text(json.dumps({"outputs": ["clip0000.wav"], "plan_text": text}))
    write_report(folder)
    facts = data_of(folder / "report.html")["sources"][1]["clips"][0]
    assert facts["plan"] == dict(Plan.parse(text))
    assert facts["events"] == [["dog", [0.5], None, None]]


def test_a_system_that_is_the_truth_is_never_the_best(folder):
    for path in (folder / "media").glob("*.wav"):
        shutil.copy(path, folder / "audio/one" / path.name)
    evaluations.change_results(folder, lambda found: found["systems"]["one"].update(audio="media"))
    found = read_evaluation(folder)
    assert found.truths == {"one"}
    data = report_data(found, folder / "report.html", None)
    assert [one["name"] for one in data["sources"]] == ["one", "two"]  # it is not there a second time, as reference
    assert "the reference itself" in report.table_html(found, "all clips")
    assert "class=best" not in report.table_html(found, "all clips")


def test_scores_of_several_seeds_are_their_mean(folder):
    place = EvaluationFolder(folder).of_system("two", 1)
    place.mkdir()
    text = (folder / "systems/two/scores.jsonl").read_text(encoding="utf-8")
    (place / "scores.jsonl").write_text(text, encoding="utf-8")
    one = read_evaluation(folder).scores["two"]
    evaluations.change_results(folder, lambda found: found["systems"]["two"].update(seeds=2, further_seeds=[1]))
    both = read_evaluation(folder)
    assert both.scores["two"] == one
    (place / "scores.jsonl").write_text("", encoding="utf-8")
    assert read_evaluation(folder).scores["two"] == one
    assert "2 seeds" in report.table_html(both, "all clips")


def test_nothing_in_an_evaluation_becomes_markup_or_a_script(tmp_path):
    name = HOSTILE.replace("/", "").replace("\u2028", "")
    plan = Plan({"semantic": HOSTILE, "temporal": HOSTILE})
    clips = [
        ManifestEntry(
            *(f"{name}{index}", tmp_path / name, tmp_path / name, (HOSTILE,), (plan,)),
            columns={"events": name, "kind": f"{name}{index % 2}"},
        )
        for index in range(5)
    ]
    evaluations.make_evaluation(tmp_path / "out", clips=clips)
    evaluations.make_evaluation(tmp_path / "plain", n_clips=5)

    def rename(found):
        found["notes"] = [HOSTILE]
        found["scorers"][HOSTILE] = found["scorers"].pop("GccMse") | {"dimension": HOSTILE, "source": HOSTILE}
        found["systems"]["one"]["model"] = HOSTILE
        for rows in found["groups"].values():
            rows[HOSTILE] = rows.pop("GccMse")
        found["groups"] = {title.replace("events", HOSTILE): rows for title, rows in found["groups"].items()}

    evaluations.change_results(tmp_path / "out", rename)
    evaluations.change_results(tmp_path / "plain", lambda found: found.update(notes=["a note"]))
    html, plain = (
        page_html(found := read_evaluation(tmp_path / name), report_data(found, tmp_path / name / "x.html", None))
        for name in ("out", "plain")
    )
    page = Elements(html)
    assert {tag for tag, _ in page.found} == {tag for tag, _ in Elements(plain).found}
    assert "onerror" not in re.sub(r'<script type="application/json".*?</script>', "", html).replace(
        "&lt;img src=x onerror", ""
    )
    for tag, attributes in page.found:
        assert not {"src", "style", "srcdoc"} & attributes.keys(), tag
        assert all(attributes["href"].startswith("#") for _ in [0] if "href" in attributes)
        assert not any(key.startswith("on") for key in attributes), tag
    data = json.loads(page.text)
    assert data["clips"][0]["plan"]["semantic"] == plan["semantic"]
    assert "%3C" in data["clips"][0]["video"]


def test_the_scripts_never_parse_text_as_markup_or_code():
    core = Path(prismaudio.__file__).parent
    for script in (core / "pages.js", core / "evaluation/player.js", core / "evaluation/report.js"):
        text = script.read_text(encoding="utf-8")
        parses = r"(inner|outer|insertAdjacent)HTML|document\.write|DOMParser|\beval\b|\bFunction\(|ContextualFragment"
        assert re.findall(parses, text) == []
        assert "</script" not in text
        assert "http" not in text


# Results of another version, or damaged
@pytest.mark.parametrize(
    ("change", "error"),
    [
        (lambda found: found.pop("format"), "was written by an older version and states no format; run the command"),
        (lambda found: found.update(format=99), "has the format 99; this version reads 1"),
        (lambda found: found.pop("systems"), "is not as prismaudio evaluate writes it"),
        (lambda found: found["groups"].pop("all clips"), "it lacks systems, groups or scorers"),
        (lambda found: found["scorers"].pop("GccMse"), "it lacks systems, groups or scorers"),
        (lambda found: found["systems"].update({"../../x": {}}), "is no name for the files of a clip"),
    ],
)
def test_results_of_another_form_are_one_line(folder, capsys, change, error):
    evaluations.change_results(folder, change)
    assert main(["evaluate", "report", str(folder)]) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert error in line
    assert not (folder / "report.html").exists()


def test_folders_that_are_none_are_one_line(tmp_path, folder, capsys):
    (tmp_path / "empty").mkdir()
    (folder / "results.json").unlink()
    for place, error in (("nowhere", "is not the folder"), ("empty", "is not the folder"), ("out", "did not end")):
        assert main(["evaluate", "report", str(tmp_path / place)]) == 2
        (line,) = capsys.readouterr().err.strip().splitlines()
        assert error in line


def test_scores_that_are_no_numbers_are_none(folder):
    def spoil(found):
        found["groups"]["all clips"]["TemporalReward"]["one"]["value"] = float("nan")
        found["groups"]["all clips"]["GccMse"]["one"].update(low=float("inf"), high=None)

    evaluations.change_results(folder, spoil)
    scores = folder / "systems/one/scores.jsonl"
    lines = scores.read_text().splitlines(keepends=True)
    scores.write_text(lines[0].replace('"value": 0.', '"value": NaN, "x": 0.') + "".join(lines[1:]))
    write_report(folder)
    data = data_of(folder / "report.html")
    assert data["groups"][0]["cells"][0][0] is None
    assert data["groups"][0]["cells"][2][0][2:4] == [None, None]
    assert data["values"][0][0][0] is None
    assert isinstance(data["values"][0][0][1], float)
    assert "nan" not in (folder / "results.csv").read_text().lower()


def test_a_page_of_somebody_else_is_kept(folder, capsys):
    (folder.parent / "mine.html").write_text("mine")
    assert main(["evaluate", "report", str(folder), "-o", str(folder.parent / "mine.html")]) == 2
    assert "mine.html exists and is no report" in capsys.readouterr().err
    assert (folder.parent / "mine.html").read_text() == "mine"


def test_a_folder_that_moved_has_its_media(folder, capsys):
    moved = folder.parent / "elsewhere"
    folder.rename(moved)
    assert main(["evaluate", "report", str(moved)]) == 0
    captured = capsys.readouterr()
    assert captured.out == f"report: {moved / 'report.html'}\n"
    assert "5 of 7 files of audio of one are not there" in captured.err
    assert data_of(moved / "report.html")["sources"][0]["folder"] == "./audio/one"
    assert "s" in data_of(moved / "report.html")["sources"][0]["clips"][0]


# Media in the page
def test_media_are_put_into_the_page_up_to_a_size(folder, monkeypatch):
    write_report(folder, target=folder.parent / "share.html", embed=True)
    data = data_of(folder.parent / "share.html")
    kind, text = data["media"]["./out/media/clip0000.mp4"]
    assert kind == "video/mp4"
    assert base64.b64decode(text) == (folder / "media/clip0000.mp4").read_bytes()
    assert {url.rpartition(".")[2] for url in data["media"]} == {"mp4", "wav", "webp"}
    assert len(data["media"]) == 2 + 3 * 2 * 2
    elements = Elements((folder.parent / "share.html").read_text(encoding="utf-8")).found
    assert "media-src blob:;" in next(found["content"] for _, found in elements if "http-equiv" in found)
    monkeypatch.setattr(report, "MAX_EMBEDDED_BYTES", 1000)
    with pytest.raises(DataError, match="the media of 7 clips have 0 MB; --embed puts at most 0 MB into the page"):
        write_report(folder, embed=True)


# Tables
def comparison():
    cell = Cell(0.5, 9, 0.4, 0.6, MeanInterval(-0.1, -0.2, -0.05, 9, 0))
    rows = {"F_1 {%}": {"a_b": cell, "c&d": Cell(-0.25, 9)}, "Nothing": {"a_b": Cell(reason="none"), "c&d": Cell()}}
    scorers = {name: {"dimension": "temporal", "higher_is_better": True} for name in rows}
    return Comparison(scorers, {"all clips": rows}, {"a_b": {}, "c&d": {}}, "c&d")


def test_latex_is_balanced_and_escaped():
    text = exports.latex(comparison(), r"50% of \suite_#1 ~^$")
    assert r"50\% of \textbackslash{}suite\_\#1 \textasciitilde{}\textasciicircum{}\$" in text
    assert r"a\_b & \textbf{0.5}* {\scriptsize [$0.4$, $0.6$]} \\" in text
    assert r"c\&d & $-0.25$ \\" in text
    assert r"F\_1 \{\%\} $\uparrow$" in text
    assert "Nothing" not in text
    plain = re.sub(r"\\[\\{}%$#_&]", "", text)
    assert plain.count("{") == plain.count("}")
    assert plain.count("$") % 2 == 0
    for name in ("table", "tabular"):
        assert text.count(rf"\begin{{{name}}}") == text.count(rf"\end{{{name}}}") == 1
    rows = [line for line in text.splitlines() if line.endswith(r" \\")]
    assert {len(re.findall(r"(?<!\\)&", line)) for line in rows} == {1}


def test_tables_as_csv_have_all_numbers(folder):
    write_report(folder)
    rows = list(csv.DictReader(io.StringIO((folder / "results.csv").read_text(encoding="utf-8"))))
    found = json.loads((folder / "results.json").read_text(encoding="utf-8"))
    assert len(rows) == sum(len(row) for scorers in found["groups"].values() for row in scorers.values())
    one = next(row for row in rows if (row["group"], row["scorer"], row["system"]) == ("all clips", "GccMse", "two"))
    assert float(one["difference_low"]) == found["groups"]["all clips"]["GccMse"]["two"]["difference_low"]
    clips = list(csv.DictReader(io.StringIO((folder / "clips.csv").read_text(encoding="utf-8"))))
    assert len(clips) == 7 * 2
    assert (clips[0]["id"], clips[0]["system"], clips[0]["events"]) == ("clip0000", "one", "multi")
    assert float(clips[0]["GccMse"]) == read_evaluation(folder).scores["one"]["GccMse"]["clip0000"]
    assert clips[-1]["GccMse"] == ""


@pytest.mark.parametrize(
    ("higher", "values", "left_out", "expected"),
    [
        (True, {"a": 1.0, "b": 2.0, "c": 2.0}, (), {"b", "c"}),
        (False, {"a": 1.0, "b": 2.0, "c": None}, (), {"a"}),
        (None, {"a": 1.0, "b": 2.0}, (), set()),
        (True, {"a": 1.0, "b": 2.0}, ("b",), set()),
    ],
)
def test_the_best_value_of_a_scorer(higher, values, left_out, expected):
    found = Comparison({"x": {"higher_is_better": higher}})
    assert exports.best(found, {name: Cell(value) for name, value in values.items()}, "x", left_out) == expected
