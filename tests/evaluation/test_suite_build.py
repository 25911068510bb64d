"""``prismaudio suite build``: from a manifest to a suite that others can evaluate on, and what it refuses."""

from __future__ import annotations

import csv
import json
import re
import shutil

import numpy as np
import pytest
import soundfile

from prismaudio.cli.evaluate import find_suite
from prismaudio.cli.main import main
from prismaudio.data.manifest import read_manifest
from prismaudio.errors import DataError
from prismaudio.evaluation.results import JsonLines, ScoreRecord
from prismaudio.evaluation.screening import page_html
from prismaudio.evaluation.suites import AudioCanvasSuite, ManifestSuite
from prismaudio.scorers import Score, Unavailable

LABELS = [*["Dog"] * 12, *["Bell"] * 4, "Rain", *["Dog; Bark"] * 2, *["Bell; Dog"] * 3, "Dog; Speech", "bird singing"]


def write_clips(folder, labels=LABELS, **columns):
    """``clips.csv`` with a clip for each text of labels: ``c00``, ``c01`` …"""
    (folder / "media").mkdir(exist_ok=True)
    rows = []
    for index, label in enumerate(labels):
        (folder / f"media/{index:02}.mp4").write_bytes(b"0")
        row = {"id": f"c{index:02}", "video": f"media/{index:02}.mp4", "label": label, "caption": f"Caption {index}."}
        rows.append(row | {"link": f"https://example.org/{index}"} | columns)
    with (folder / "clips.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)


def write_scores(folder, **systems):
    """An evaluation: system → clip → score."""
    for system, values in systems.items():
        path = folder / "systems" / system / "scores.jsonl"
        path.parent.mkdir(parents=True, exist_ok=True)
        out = JsonLines(str(path), [Unavailable("CLAP", "metrics", None, "", "")])
        for clip, value in values.items():
            out.add(ScoreRecord(f"audio/{clip}.wav", "x", {"CLAP": Score(value)}, columns={"id": clip}))


@pytest.fixture
def work(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_clips(tmp_path)
    return tmp_path


def run(*words, capsys=None):
    """The exit code; with ``capsys`` the one line of an error."""
    code = main(["suite", "build", "clips.csv", "-o", "suite", *words])
    if capsys is None:
        return code
    error = capsys.readouterr().err.strip()
    assert code == 2
    assert error.count("\n") == 0
    return error


def lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def files(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_classes_are_balanced_and_speech_is_out(work):
    assert run("--per-class", "3", "--multi", "2") == 0
    described = json.loads((work / "suite/suite.json").read_text())
    assert {name: n["single"] for name, n in described["classes"].items()} == {
        "Dog": 3, "Bell": 3, "Rain": 1, "Bark": 0, "Speech": 0, "bird singing": 0,
    }  # fmt: skip
    assert (described["single"], described["multi"]) == (7, 2)
    assert described["excluded"] == {"Speech": 1, "bird singing": 1}
    assert described["few"] == ["Bark", "Rain"]
    left = {one["id"]: one["reason"] for one in lines(work / "suite/left_out.jsonl")}
    assert left["c22"] == "Speech is excluded"
    steps = [(step["before"], step["left_out"]) for step in described["steps"]]
    assert steps == [(24, 0), (24, 2), (22, 13)]
    assert len(left) == 15


def test_what_is_published_has_links_and_neither_media_nor_paths_nor_ids(work):
    write_clips(work, link_start_s=3, link_end_s=13.5, licence="CC-BY-4.0")
    assert run("--per-class", "2", "--name", "Ours", "--licence", "CC0-1.0") == 0
    rows = {row["id"]: row for row in lines(work / "suite/published/manifest.jsonl")}
    assert set(rows) >= {"Dog_1", "Dog_2", "Bell_1", "Bell_2", "Rain_1", "Multiple events_1"}
    row = rows["Rain_1"]
    assert row == {
        "id": "Rain_1", "video": "Rain_1.mp4", "link": "https://example.org/16", "link_start_s": 3.0,
        "link_end_s": 13.5, "class": "Rain", "events": "single", "caption": "Caption 16.", "licence": "CC-BY-4.0",
    }  # fmt: skip
    assert rows["Multiple events_1"]["events"] == "multi"
    assert rows["Multiple events_1"]["class"] in ("Bell; Dog", "Bark; Dog")
    published = b"".join(files(work / "suite/published").values()).decode()
    assert not re.search(rf"media/|\bc\d\d\b|{re.escape(str(work))}", published)
    readme = (work / "suite/published/README.md").read_text()
    assert "CC0-1.0" in readme
    assert "CC-BY-4.0" in readme
    assert "seed 0" in readme
    table = list(csv.DictReader((work / "suite/ids.csv").read_text().splitlines()))
    assert {one["id"]: one["original"] for one in table}["Rain_1"] == "c16"
    assert {one["video"] for one in table} >= {"../media/16.mp4"}
    assert {entry.id for entry in read_manifest(work / "suite/clips.jsonl")} == set(rows)


def test_the_same_input_gives_the_same_bytes_and_another_seed_another_suite(work):
    words = ["--per-class", "2", "--seed", "5"]
    assert run(*words) == 0
    shutil.move("suite", "first")
    assert run(*words) == 0
    assert run(*words) == 0  # a second time into its own folder
    assert files(work / "suite") == files(work / "first")
    assert run("--per-class", "2", "--seed", "6") == 0
    assert (work / "suite/ids.csv").read_bytes() != (work / "first/ids.csv").read_bytes()


def test_labels_of_an_ontology_may_be_ids_and_wider_classes_are_no_events(work):
    nodes = [
        ("v", "Human voice", ["s"]),
        ("s", "Speech", []),
        ("d", "Dog", ["b"]),
        ("b", "Bark", []),
        ("e", "Bell", []),
    ]
    nodes = [{"id": key, "name": name, "child_ids": below, "restrictions": []} for key, name, below in nodes]
    nodes[0]["restrictions"] = ["abstract"]
    nodes.append({"id": "w", "name": "Singing bowl", "child_ids": []})
    (work / "ontology.json").write_text(json.dumps(nodes))
    write_clips(work, ["d,b", "Dog", "bell", "Bell; b; Dog", "s", "Human voice", "dog", "w"])
    assert run("--ontology", "ontology.json", "--per-class", "5") == 0
    rows = {row["original"]: row for row in lines(work / "suite/clips.jsonl")}
    assert {name: row["class"] for name, row in rows.items()} == {
        "c00": "Bark", "c01": "Dog", "c02": "Bell", "c03": "Bark; Bell", "c06": "Dog",
        "c07": "Singing bowl",
    }  # fmt: skip
    left = {one["id"]: (one["step"], one["reason"]) for one in lines(work / "suite/left_out.jsonl")}
    assert left == {
        "c04": ("excluded classes", "Speech is excluded"),
        "c05": ("groups of classes", "Human voice is a group of classes and no class"),
    }
    assert "SHA-256" in (work / "suite/published/README.md").read_text()


@pytest.mark.parametrize(
    ("label", "is_voice"),
    [
        ("male singing", True),
        ("Child speech, kid speaking", True),
        ("people whispering", True),
        ("Rapping", True),
        ("singing bowl", False),
        ("bird chirping", False),
        ("vibraphone", False),
    ],
)
def test_labels_of_speech_and_singing_without_an_ontology(work, label, is_voice):
    write_clips(work, [label, "dog"])
    assert run() == 0
    assert ("c00" in {one["id"] for one in lines(work / "suite/left_out.jsonl")}) is is_voice
    assert run("--exclude", "none") == 0
    assert len(lines(work / "suite/clips.jsonl")) == 2


def test_solved_clips_are_left_out_by_the_scores_of_all_or_any_systems(work):
    everything = {f"c{index:02}": 0.9 for index in range(12)}
    write_scores(work / "evaluation", one=everything, two={"c00": 0.8, "c01": 0.2})
    assert run("--per-class", "20", "--scores", "evaluation", "--solved", "CLAP>=0.5") == 0
    left = {one["id"]: one["reason"] for one in lines(work / "suite/left_out.jsonl")}
    assert left["c00"] == "solved by one, two"
    assert "c01" not in left
    described = json.loads((work / "suite/suite.json").read_text())
    assert described["solved_by_system"] == {"one": 12, "two": 1}
    assert "two has no score of 20 of 22 clips; it solves none of them" in described["notes"]
    assert run("--per-class", "20", "--scores", "evaluation", "--solved", "CLAP>=0.5", "--solved-by", "any") == 0
    left = [one for one in lines(work / "suite/left_out.jsonl") if one["step"] == "solved by systems"]
    assert len(left) == 12
    assert "any of one, two: CLAP" in (work / "suite/published/README.md").read_text()


def test_of_several_seeds_the_mean_of_a_clip_counts(work):
    write_scores(work / "evaluation", one={"c00": 0.9, "c01": 0.9})
    shutil.copytree("evaluation/systems", "more/systems")
    write_scores(work / "seed", one={"c00": 0.0, "c01": 0.5})
    shutil.copytree("seed/systems/one", "more/systems/one/seed-1")
    assert run("--per-class", "20", "--scores", "more", "--solved", "CLAP>=0.6") == 0
    left = [one["id"] for one in lines(work / "suite/left_out.jsonl") if one["step"] == "solved by systems"]
    assert left == ["c01"]


def write_decisions(work, **decisions):
    page = (work / "suite/screening.html").read_text()
    clips = json.loads(re.search(r'id="data">(.*?)</script>', page, re.DOTALL)[1])["clips"]
    keys = {clip["id"]: clip["clip"] for clip in clips}
    found = {name: {"clip": keys[name], **one} for name, one in decisions.items()}
    (work / "decisions.json").write_text(json.dumps({"decisions": found}))
    return clips


def test_a_person_keeps_and_drops_clips_and_spare_ones_take_their_place(work):
    assert run("--per-class", "3") == 0
    chosen = [row["original"] for row in lines(work / "suite/clips.jsonl") if row["class"] == "Dog"]
    page = (work / "suite/screening.html").read_text()
    clips = json.loads(re.search(r'id="data">(.*?)</script>', page, re.DOTALL)[1])["clips"]
    spare = next(clip["id"] for clip in clips if not clip["name"] and clip["classes"] == ["Dog"])
    first, second = chosen[:2]
    write_decisions(
        work,
        **{first: {"keep": False, "reasons": ["diversity"], "note": "same dog"}, spare: {"keep": True}},
    )
    assert run("--per-class", "3", "--decisions", "decisions.json") == 0
    now = [row["original"] for row in lines(work / "suite/clips.jsonl") if row["class"] == "Dog"]
    assert now[0] == spare
    assert len(now) == 3
    assert first not in now
    assert second in now
    left = {one["id"]: one["reason"] for one in lines(work / "suite/left_out.jsonl")}
    assert left[first] == "dropped by a person: too much like another clip; same dog"
    clips = write_decisions(work)
    assert next(clip["decision"] for clip in clips if clip["id"] == spare) == {"keep": True, "reasons": [], "note": ""}
    write_decisions(work, **{spare: {"keep": True}})
    assert run("--per-class", "3", "--decisions", "decisions.json", "--only-kept") == 0
    assert [row["original"] for row in lines(work / "suite/clips.jsonl")] == [spare]


def test_decisions_about_clips_that_are_others_now_are_not_applied(work, capsys):
    assert run("--per-class", "30") == 0
    write_decisions(work, c00={"keep": False}, c12={"keep": False})
    write_clips(work, ["Rain", *LABELS[1:]])
    assert run("--per-class", "30", "--decisions", "decisions.json") == 0
    left = {one["id"]: one["step"] for one in lines(work / "suite/left_out.jsonl")}
    assert left == {"c12": "screening", "c22": "excluded classes", "c23": "excluded classes"}
    assert "1 decisions are about clips that are others now" in capsys.readouterr().out
    write_clips(work, ["Cat"] * 24)
    assert "decisions about other clips: c00, c12; expected those" in run(
        "--decisions", "decisions.json", capsys=capsys
    )


def test_plans_of_cot_build_come_back_and_outlive_a_change_of_ids(work):
    assert run("--per-class", "3") == 0
    plan = {"semantic": "It rains.", "temporal": "All the time."}
    rows = [{**row, "plan": plan} for row in lines(work / "suite/clips.jsonl") if row["class"] in ("Rain", "Dog")]
    (work / "cot").mkdir()
    (work / "cot/manifest.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    write_decisions(work, **{rows[0]["original"]: {"keep": False}})
    assert run("--per-class", "3", "--plans", "cot", "--decisions", "decisions.json") == 0
    published = {row["id"]: row.get("plan") for row in lines(work / "suite/published/manifest.jsonl")}
    assert published["Rain_1"] == "<Semantic> It rains. <Temporal> All the time."
    assert [published[f"Dog_{n}"] is not None for n in (1, 2, 3)].count(True) == 2
    assert json.loads((work / "suite/suite.json").read_text())["plans"] == 3


def test_clips_are_left_out_by_what_is_heard(work, capsys):
    write_clips(work, ["Dog"] * 4)
    time = np.arange(16_000) / 16_000
    for index in range(3):
        left = 0.3 * np.sin(2 * np.pi * 440 * time)
        right = left if index == 0 else 0.3 * np.sin(2 * np.pi * 550 * time)
        soundfile.write(work / f"media/{index:02}.wav", np.stack([left, right], 1), 16_000)
    text = (work / "clips.csv").read_text().replace("media/00.mp4", "media/00.wav").replace("video", "audio")
    (work / "clips.csv").write_text(
        text.replace("media/01.mp4", "media/01.wav").replace("media/02.mp4", "media/02.wav")
    )
    assert run("--heard", "StereoWidth<0.01") == 0
    left = {one["id"]: one["reason"] for one in lines(work / "suite/left_out.jsonl")}
    assert left["c00"] == "StereoWidth<0.01 is 0"
    assert left["c03"] == "StereoWidth has no value: its sound cannot be read"
    assert {row["original"] for row in lines(work / "suite/clips.jsonl")} == {"c01", "c02"}
    assert lines(work / "suite/published/manifest.jsonl")[0]["audio"] == "Dog_1.wav"
    capsys.readouterr()
    assert run("--heard", "StereoWidth<0.01") == 0
    assert capsys.readouterr().err.count("skipped, already scored") == 3
    assert "StereoWidth\\<0.01" in (work / "suite/published/README.md").read_text()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--label-column", "class"], "clips.csv has no column 'class' with the classes of clips; it has caption, id"),
        (["--link-column", "url"], "clips.csv has no column 'url' with the address of each clip"),
        (["--exclude", "Cat"], "--exclude 'Cat' is no class"),
        (["--exclude", "*"], "no clip is left of 24; excluded classes: 24"),
        (["--per-class", "0"], "argument --per-class: '0' is out of range"),
        (["--solved", "CLAP>=0.5"], "--solved without --scores leaves out nothing"),
        (["--scores", "evaluation"], "--scores without --solved leaves out nothing"),
        (
            ["--scores", "media", "--solved", "CLAP>=0.5"],
            "media has no scores; expected a folder of prismaudio evaluate",
        ),
        (["--scores", "evaluation", "--solved", "CLAPP>=0.5"], "one has no score 'CLAPP'; did you mean 'CLAP'?"),
        (["--scores", "evaluation", "--solved", "CLAP=1"], "'CLAP=1' is no condition"),
        (["--scores", "other", "--solved", "CLAP>=0.5"], "has the scores of other clips: x1"),
        (["--scores", "clips.csv", "--solved", "CLAP>=0.5"], "clips.csv has no scores"),
        (["--heard", "StereoWidht<1"], "no reward or metric is named 'StereoWidht'; did you mean 'StereoWidth'"),
        (["--heard", "{class_path: StereoWidth, init_args: {a: 1}}<1"], "StereoWidth"),
        (["--decisions", "none.json"], "cannot read the decisions none.json: no such file"),
        (["--decisions", "list.json"], "list.json has no decisions; expected what the page saves"),
        (["--decisions", "odd.json"], "the reason 'boring' is unknown; expected correlation, diversity"),
        (["--plans", "none"], "there is no none; expected what prismaudio cot build makes"),
        (["--plans", "clips.csv"], "clips.csv, line 2: has no 'original'"),
        (["--plans", "other.jsonl"], "other.jsonl has plans of other clips: x1"),
        (["--ontology", "none.json"], "cannot read the ontology none.json: no such file"),
        (["--ontology", "list.json"], "list.json is no ontology"),
        (["--only-kept"], "no clip is left of 24; excluded classes: 2; screening: 22"),
    ],
)
def test_what_cannot_be_built_is_one_line_and_leaves_nothing(work, capsys, words, said):
    write_scores(work / "evaluation", one={"c00": 0.9})
    write_scores(work / "other", one={"x1": 0.9})
    (work / "list.json").write_text("[]")
    (work / "odd.json").write_text('{"decisions": {"c00": {"clip": "", "keep": false, "reasons": ["boring"]}}}')
    (work / "other.jsonl").write_text('{"original": "x1", "plan": "<Semantic> A dog."}\n')
    assert said in run(*words, capsys=capsys)
    assert not (work / "suite").exists()


@pytest.mark.parametrize(
    ("find", "replace", "said"),
    [
        ("c01,", "c00,", "the id 'c00' is already used in line 2"),
        ("media/03.mp4", "media/none.mp4", "names 1 file that do"),
        ("https://example.org/5", "/home/me/5.mp4", "clip c05: link is '/home/me/5.mp4'; expected where the clip"),
        ("https://example.org/5\r\n", "\r\n", "clip c05: link is ''"),
        ("media/02.mp4,Dog", "media/02.mp4,", "no label for 1 clip: c02; expected one or more in 'label'"),
        ("media/02.mp4", "", "names no file"),
    ],
)
def test_manifests_that_cannot_be_built_from(work, capsys, find, replace, said):
    text = (work / "clips.csv").read_bytes().decode()
    assert find in text
    (work / "clips.csv").write_bytes(text.replace(find, replace, 1).encode())
    assert said in run(capsys=capsys)


def test_unknown_labels_and_pieces_of_files_are_refused(work, capsys):
    (work / "ontology.json").write_text('[{"id": "d", "name": "Dog", "child_ids": []}]')
    said = run("--ontology", "ontology.json", capsys=capsys)
    assert "clips.csv has 5 labels that are no class of the ontology: 'Bell' (7 clips), 'Bark' (2 clips)" in said
    write_clips(work, start_s=1)
    assert "suite build takes whole files" in run(capsys=capsys)


def test_nothing_of_others_is_overwritten(work, capsys):
    (work / "suite").mkdir()
    (work / "suite/report.md").write_text("mine")
    assert "report.md exists and is not that of prismaudio suite build" in run(capsys=capsys)
    assert files(work / "suite") == {"report.md": b"mine"}
    (work / "suite/report.md").unlink()
    (work / "suite/notes.txt").write_text("mine")
    assert run() == 0
    assert (work / "suite/notes.txt").read_text() == "mine"
    before = files(work / "suite")
    assert main(["suite", "build", "suite/clips.jsonl", "-o", "suite"]) == 2
    assert "is written by this command" in capsys.readouterr().err
    assert files(work / "suite") == before


def test_who_has_fetched_the_media_evaluates_on_the_published_manifest(work, capsys):
    assert run("--per-class", "1") == 0
    capsys.readouterr()
    shutil.copytree("suite/published", "got")
    for row in lines(work / "got/manifest.jsonl"):
        (work / "fetched").mkdir(exist_ok=True)
        (work / "fetched" / row["video"]).with_suffix(".mkv").write_bytes(b"0")
    suite = find_suite(
        '{"class_path": "audiocanvas", "init_args": {"manifest": "got/manifest.jsonl", "media": "fetched"}}'
    )
    clips = suite.clips(work, ())
    assert {clip.id for clip in clips} >= {"Dog_1", "Rain_1", "Multiple events_1"}
    assert clips[0].video == work / "fetched" / f"{clips[0].id}.mkv" or clips[0].video.suffix == ".mkv"
    (work / "fetched/Rain_1.mkv").unlink()
    with pytest.raises(DataError, match=r"1 of \d clips are not in fetched: Rain_1.mp4 \(https://example.org/16\)"):
        suite.clips(work, ())
    some = AudioCanvasSuite("got/manifest.jsonl", media="fetched", allow_missing=True).clips(work, ())
    assert len(some) == len(clips) - 1
    assert main(["suite", "missing", "got/manifest.jsonl", "--media", "fetched"]) == 0
    out, err = capsys.readouterr()
    assert out == "Rain_1.mp4\thttps://example.org/16\t\t\n"
    assert f"1 of {len(clips)} clips are not in fetched" in err
    with pytest.raises(DataError, match="there is no folder nowhere"):
        ManifestSuite("got/manifest.jsonl", media="nowhere").clips(work, ())


def test_nothing_of_a_clip_becomes_markup_or_a_script_of_the_page(work):
    hostile = "</script><img src=x onerror=alert(1)>{{script}}"
    entry = {"id": hostile, "classes": [hostile], "captions": [hostile], "files": {}, "decision": None}
    page = page_html(hostile, [entry])
    assert page.count("<img") == 0
    assert page.count("</script>") == 2
    assert json.loads(re.search(r'id="data">(.*?)</script>', page, re.DOTALL)[1])["clips"][0]["id"] == hostile
