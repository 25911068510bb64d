"""``prismaudio cot build`` with an endpoint of ours: resume, budgets, two steps, two samplings, several processes."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from chat_server import MODEL, Fault, serving, texts_of, times_of, write_plan

from prismaudio.cli.main import main
from prismaudio.cot.rows import read_rows
from prismaudio.data.datamodule import ManifestDataModule
from prismaudio.data.manifest import read_manifest
from prismaudio.data.synthetic import SyntheticClips
from prismaudio.media import write_video, write_video_with_audio
from prismaudio.plan import CORE

COT = (
    "A small dog barks twice on the right. It sounds at 0.50 s and 1.50 s. The recording is clean and dry. Its name is "
)
"""The text about a clip; the name of the dog is that of the clip."""
NAMES = ("Rex", "Tom", "Bello", "Lassie", "Fido", "Max")
PLAN = {
    "semantic": "A small dog barks twice.",
    "temporal": "The dog sounds at 0.50 s and 1.50 s.",
    "aesthetic": "A clean recording in a dry room.",
    "spatial": "The dog is on the right (azimuth +24°).",
}


def answer(messages):
    """The whole text, its sections, or one section."""
    question = texts_of(messages)[-1]
    if "Think through" in question:
        return COT + NAMES[int(re.search(r"about the clip: [a-z ]+(\d)?", question)[1] or 0)] + "."
    if "Split it" in question:
        assert COT in question
        return " ".join(f"<{name.capitalize()}> {text}" for name, text in PLAN.items())
    return write_plan(messages)


@pytest.fixture
def server():
    with serving(answer) as found:
        yield found


@pytest.fixture(scope="session")
def filmed(tmp_path_factory):
    """Six videos of clicks and flashes with their sound, and one without sound."""
    folder = tmp_path_factory.mktemp("filmed")
    clips = SyntheticClips(0, 6, 2.0, 8.0, 48, 16_000)
    for number in range(6):
        clip, _ = clips.clip(number)
        clip.frames[:, :, :16] = 40 * number  # so that no two clips look the same
        write_video(clip.frames, 8.0, folder / "mute.mp4")
        write_video_with_audio(folder / "mute.mp4", clip.audio, 16_000, folder / f"c{number}.mp4")
    write_video(torch.zeros(16, 3, 48, 48, dtype=torch.uint8), 8.0, folder / "mute.mp4")
    return folder


@pytest.fixture
def folder(filmed, tmp_path, monkeypatch):
    """The working directory, with a link to the videos and a manifest of all six."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PRISMAUDIO_DISABLE_PLUGINS", "studio,loudness,speechfree")
    (tmp_path / "videos").symlink_to(filmed)
    listed(range(6))
    return tmp_path


def listed(numbers, *more, caption="a dog"):
    lines = [f"c{i},videos/c{i}.mp4,{caption} {i},{'val' if i == 5 else 'train'}" for i in numbers]
    Path("clips.csv").write_text("\n".join(["id,video,caption,split", *lines, *more, ""]))


def model(server, option="--planner", **arguments):
    """The words that choose the endpoint."""
    words = [option, "ApiPlanner"]
    for name, value in {"model": MODEL, "base_url": server.url, "max_retries": 0, **arguments}.items():
        words += [f"{option}.{name}", str(value)]
    return words


def command(*words, output="cot"):
    return ["cot", "build", "clips.csv", "-o", output, "--workers", "0", "--gate", "none", *map(str, words)]


def rows(output="cot"):
    return list(read_rows(Path(output)))


def summary(output="cot"):
    return json.loads((Path(output) / "summary.json").read_text())


def asked(server):
    """The questions, without those that were asked twice."""
    return [json.dumps(question, sort_keys=True) for question in server.questions]


def without_seconds(output="cot"):
    """``rows.jsonl`` without what differs from run to run."""
    lines = [json.loads(line) for line in (Path(output) / "rows.jsonl").read_text().splitlines()]
    for line in lines:
        for origin in line["origins"].values():
            origin.pop("seconds")
    return lines


def test_a_planner_writes_a_row_for_each_clip_and_a_manifest_to_train_on(server, folder, capsys):
    assert main(command(*model(server))) == 0
    found = rows()
    assert [row.id for row in found] == [f"c{i}" for i in range(6)]
    first = found[0]
    assert list(first.sections) == list(CORE)
    assert first.clip == {"video": "../videos/c0.mp4", "caption": "a dog 0", "split": "train"}
    assert first.duration_s == 2.0
    assert first.accepted
    assert (first.cot, first.gates) == ("", {"Plan": None})
    origin = first.origins["temporal"]
    assert (origin["planner"], origin["model"], origin["asked"]) == ("ApiPlanner", MODEL, 1)
    assert origin["prompt"].startswith("planner 2 (")
    assert {"TemporalReward", "AestheticReward", "SpatialReward"} == first.scores.keys()
    entries = read_manifest("cot/manifest.jsonl")
    assert [entry.split for entry in entries] == ["train"] * 5 + ["val"]
    assert dict(entries[0].plans[0]) == first.sections
    told = summary()
    assert (told["clips"], told["rows"], told["accepted"], told["left"]) == (6, 6, 6, 0)
    assert told["asked"] == len(server.questions) == 24
    assert told["tokens"] > 0
    assert "6 rows written, 0 already there; 6 of 6 rows are accepted" in capsys.readouterr().err


def test_the_four_strategies_are_columns_that_training_and_extraction_read(server, folder):
    assert main(command(*model(server, "--annotator"), *model(server, "--decoupler"))) == 0
    texts = {}
    for column in ("plan", "plan_monolithic", "plan_random", "plan_none"):
        entry = read_manifest("cot/manifest.jsonl", plan_column=column)[1]
        texts[column] = entry.texts[0]
        data = ManifestDataModule(
            "cot/manifest.jsonl", max_s=2.0, batch_size=2, workers=0, plan_column=column, verify=False
        )
        data.setup("fit")
        batch = next(iter(data.val_dataloader()))
        assert batch.plans[0].keys() == texts[column].keys()
    assert dict(texts["plan"]) == PLAN
    assert dict(texts["plan_monolithic"]) == {"semantic": f"{COT}Tom."}
    assert dict(texts["plan_none"]) == {"semantic": "a dog 1"}
    words = texts["plan_random"]["semantic"].split()
    assert sorted(words) == sorted(f"{COT}Tom.".split())
    assert words != f"{COT}Tom.".split()


def test_an_annotator_and_a_decoupler_write_one_text_and_its_sections(server, folder):
    words = [*model(server, "--annotator", hear="true"), *model(server, "--decoupler", temperature=0.1)]
    assert main(command(*words)) == 0
    first = rows()[0]
    assert (first.cot, first.sections) == (f"{COT}Rex.", PLAN)
    assert first.origins["cot"]["planner"] == "ApiPlanner"
    assert first.origins["cot"]["asked"] == 1
    whole, split = server.questions[0], next(q for q in server.questions if "Split it" in json.dumps(q))
    kinds = [part["type"] for part in whole["messages"][-1]["content"]]
    assert {"image_url", "input_audio", "text"} == set(kinds)
    assert "This is known about the clip: a dog" in texts_of(whole["messages"])[-1]
    assert [part["type"] for part in split["messages"][-1]["content"]] == ["text"]
    assert split["temperature"] == 0.1
    assert len(server.questions) == 12
    settings = summary()["settings"]
    assert settings["annotator"]["hear"] is True
    assert settings["decoupler"]["prompts"].startswith("planner 2 (")


def test_a_build_that_is_killed_goes_on_and_ends_equal(server, folder, own_cache):
    words = command(*model(server, parallel=1), "--batch-size", 1)

    def slowly(messages):
        time.sleep(0.05)
        return answer(messages)

    server.script = slowly
    process = subprocess.Popen([sys.executable, "-m", "prismaudio", *words], env=os.environ, start_new_session=True)
    part = folder / "cot" / "rows-1of1.jsonl"
    deadline = time.monotonic() + 120
    while not (part.exists() and part.read_bytes().count(b"\n") >= 2) and time.monotonic() < deadline:
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    n_rows, n_asked = part.read_bytes().count(b"\n"), len(server.questions)
    assert 2 <= n_rows < 6
    with part.open("ab") as file:
        file.write(part.read_bytes()[: len(part.read_bytes()) // 2 + 7])  # a line that is torn
    assert main(words) == 0
    again = asked(server)[n_asked:]
    assert len(set(again) & set(asked(server)[: n_asked - 1])) == 0  # but for what was on its way
    assert len(server.questions) in (24, 25)
    assert main(words) == 0
    assert len(server.questions) in (24, 25)
    before = without_seconds()
    os.environ["PRISMAUDIO_CACHE"] = str(folder / "other")
    try:
        assert main(command(*model(server), output="whole")) == 0
    finally:
        os.environ["PRISMAUDIO_CACHE"] = str(own_cache)
    assert without_seconds("whole") == before
    assert (folder / "cot" / "manifest.jsonl").read_bytes() == (folder / "whole" / "manifest.jsonl").read_bytes()


def test_a_budget_that_is_reached_leaves_whole_rows_and_the_next_run_does_the_rest(server, folder, capsys):
    words = command(*model(server, max_requests=10), "--batch-size", 1)
    assert main(words) == 2
    last = capsys.readouterr().err.splitlines()[-1]
    assert "max_requests are used up" in last
    assert "4 clips have no row yet" in last
    assert [row.id for row in rows()] == ["c0", "c1"]
    assert all(list(row.sections) == list(CORE) for row in rows())
    told = summary()
    assert (told["left"], set(told["waiting"])) == (4, {"c2", "c3", "c4", "c5"})
    assert main(words) == 2
    assert main(command(*model(server, max_requests=100), "--batch-size", 1)) == 0  # the budget is no setting
    assert len(server.questions) == 24
    assert len(set(asked(server))) == 24
    assert summary()["waiting"] == {}


def test_an_endpoint_that_stops_in_the_middle_stops_the_build_once(server, folder, capsys):
    def fails(messages):
        if len(server.questions) > 9:
            server.always = Fault(503, {"error": {"message": "overloaded"}})
        return answer(messages)

    server.script = fails
    assert main(command(*model(server), "--batch-size", 1)) == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith("prismaudio: error: ")
    assert "have no row yet: run the same command again" in error
    n_rows = len(rows())
    assert 1 <= n_rows < 6
    server.always, server.script = None, answer
    assert main(command(*model(server), "--batch-size", 1)) == 0
    assert len(rows()) == 6
    assert f"{6 - n_rows} rows written, {n_rows} already there" in capsys.readouterr().err


def test_clips_after_many_without_an_answer_are_not_even_read(server, folder, capsys, monkeypatch):
    monkeypatch.setattr("prismaudio.cot.building.MAX_UNANSWERED", 2)
    assert main(command(*model(server, max_requests=1), "--batch-size", 1)) == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert "the last 2 clips got no answer" in error
    assert "6 clips have no row yet" in error
    assert len(server.questions) == 1
    assert set(summary()["waiting"]) == {"c0", "c1"}


def test_an_answer_that_stays_wrong_is_final(server, folder, capsys):
    def wrong(messages):
        named = "<Spatial>" if "Write the spatial" in texts_of(messages)[-1] else ""
        return "I'm sorry, I cannot hear it." if named else answer(messages)

    server.script = wrong
    assert main(command(*model(server))) == 0
    first = rows()[0]
    assert "spatial" not in first.sections
    assert "left out the spatial section" in first.warnings[0]
    n_asked = len(server.questions)
    assert main(command(*model(server))) == 0
    assert len(server.questions) == n_asked


def test_a_manifest_that_changes_asks_about_what_is_new_only(server, folder):
    words = command(*model(server, "--annotator"), *model(server, "--decoupler"))
    listed(range(4))
    assert main(words) == 0
    assert len(server.questions) == 8
    listed([0, 2, 3, 5])  # one is gone, one is new
    assert main(words) == 0
    assert len(server.questions) == 10
    assert [row.id for row in rows()] == ["c0", "c2", "c3", "c5"]
    listed([3, 2, 0, 5])  # another order
    assert main(words) == 0
    assert len(server.questions) == 10
    assert [row.id for row in rows()] == ["c3", "c2", "c0", "c5"]
    listed([3, 2, 0], caption="a cat")
    assert main(words) == 0
    assert [row.clip["caption"] for row in rows()] == ["a cat 3", "a cat 2", "a cat 0"]
    assert "a cat 3" in json.dumps(server.questions[10:])
    listed(range(4))
    n_asked = len(server.questions)
    assert main(words) == 0  # as it was: nothing is lost
    assert len(server.questions) == n_asked
    assert [row.id for row in rows()] == ["c0", "c1", "c2", "c3"]


def test_clips_without_video_or_sound_are_listed_and_the_others_go_on(server, folder, capsys):
    listed([0, 1], "gone,videos/none.mp4,x,train", "mute,videos/mute.mp4,x,train", "empty,,x,train")
    assert main(command(*model(server), "--batch-size", 3)) == 0
    assert [row.id for row in rows()] == ["c0", "c1"]
    failed = summary()["failed"]
    assert list(failed) == ["gone", "mute", "empty"]
    assert "none.mp4" in failed["gone"]
    assert "no audio track" in failed["mute"]
    assert "neither a video nor an audio" in failed["empty"]
    captured = capsys.readouterr().err
    assert "skipped mute: " in captured
    assert "3 clips skipped" in captured
    assert len(server.questions) == 8
    listed([], "mute,videos/mute.mp4,x,train")
    assert main(command(*model(server), output="none")) == 2
    assert "all 1 clips failed; the first is mute" in capsys.readouterr().err


def test_audio_without_video_is_annotated_from_what_is_heard_and_known(server, folder):
    from prismaudio.media import read_audio_track, write_wav

    write_wav(read_audio_track("videos/c0.mp4", 16_000), 16_000, folder / "c0.wav")
    (folder / "clips.csv").write_text("id,audio,caption\na,c0.wav,a dog\n")
    assert main(command(*model(server, "--annotator", hear="true"), *model(server, "--decoupler"))) == 0
    (row,) = rows()
    assert row.cot == f"{COT}Rex."
    assert row.clip["audio"] == "../c0.wav"
    question = server.questions[0]["messages"][-1]["content"]
    assert {part["type"] for part in question} == {"input_audio", "text"}
    (folder / "clips.csv").write_text("id,audio\na,c0.wav\n")
    assert main(command(*model(server, "--annotator"), *model(server, "--decoupler"), output="deaf")) == 2
    assert "nothing to annotate" in summary("deaf")["failed"]["a"]


def test_a_second_build_into_the_same_folder_gets_one_line(server, folder, capsys):
    from prismaudio.cot.rows import RowFolder

    assert main(command(*model(server))) == 0
    settings = summary()["settings"]
    capsys.readouterr()
    with RowFolder(folder / "cot", settings):
        assert main(command(*model(server))) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert "another prismaudio cot build is writing" in line
        assert main(command(*model(server), "--part", "1/2")) == 2  # nor one of several
        assert "rows-1of1.jsonl" in capsys.readouterr().err
    assert main(command(*model(server), "--part", "1/2")) == 0


def test_a_folder_of_other_settings_says_what_differs(server, folder, capsys):
    assert main(command(*model(server))) == 0
    capsys.readouterr()
    assert main(command(*model(server, hear="true"), "--samples", 2)) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "planner hear was false and is true" in line
    assert "choose another folder with -o" in line
    n_asked = len(server.questions)
    assert main(command(*model(server), "--reward", "none", output="other")) == 0
    assert len(server.questions) == n_asked  # from the cache
    (folder / "third").mkdir()
    (folder / "third" / "rows.jsonl").write_text("mine\n")
    assert main(command(*model(server), output="third")) == 2
    assert "did not write" in capsys.readouterr().err
    assert (folder / "third" / "rows.jsonl").read_text() == "mine\n"


def test_two_samplings_share_a_budget_and_are_kept(server, folder, capsys):
    assert main(command(*model(server), "--samples", 2)) == 0
    assert len(server.questions) == 48
    temperatures = [question.get("temperature") for question in server.questions]
    assert set(temperatures) == {0.0, 0.7}
    assert {question.get("seed") for question in server.questions} == {None, 1}
    second = rows()[0].origins["second"]
    assert second["sections"] == rows()[0].sections
    assert (second["asked"], summary()["asked"]) == (4, 48)
    assert main(command(*model(server, max_requests=6, seed=4), "--samples", 2, "--batch-size", 1, output="b")) == 2
    assert len(server.questions) == 54
    assert rows("b") == []
    assert main(command("--planner", "FlashPlanner", "--samples", 2, output="c")) == 2
    assert "FlashPlanner takes no temperature and seed" in capsys.readouterr().err


def test_two_processes_do_a_half_each_and_the_last_writes_all(server, folder):
    words = command(*model(server))
    assert main([*words, "--part", "2/2"]) == 0
    assert [row.id for row in rows()] == ["c1", "c3", "c5"]
    assert summary()["left"] == 3
    assert main([*words, "--part", "1/2"]) == 0
    assert [row.id for row in rows()] == [f"c{i}" for i in range(6)]
    assert main(words) == 0
    assert len(server.questions) == 24
    assert main([*command(*model(server), output="both"), "--devices", "2"]) == 0
    assert without_seconds("both") == without_seconds()


def test_what_a_person_says_is_kept(server, folder, capsys):
    assert main(command(*model(server))) == 0
    whole = rows()
    corrections = {
        "c0": {"sections": {"semantic": "A cat meows.", "aesthetic": ""}},
        "c1": {"accepted": False},
        "c2": {"sections": {"temporal": "The dog sounds at 99 s."}, "accepted": True},
        "old": {"accepted": True},
    }
    (folder / "mine.json").write_text(json.dumps(corrections))
    capsys.readouterr()
    assert main(command(*model(server), "--corrections", "mine.json")) == 0
    warned = capsys.readouterr().err.splitlines()[0]
    assert warned == "warning: there are corrections for rows that do not exist: old; they are not applied"
    for _ in range(2):
        first, second, third, *others = rows()
        assert first.sections == {k: v for k, v in whole[0].sections.items() if k != "aesthetic"} | {
            "semantic": "A cat meows."
        }
        assert (first.corrected, first.accepted) == (True, True)
        assert (second.corrected, second.accepted, second.sections) == (False, False, whole[1].sections)
        assert not third.accepted
        assert "99.00 s" in third.gates["Plan"]
        assert others == whole[3:]
        entries = read_manifest("cot/manifest.jsonl", plan_column="plan_monolithic")
        assert [entry.id for entry in entries] == ["c0", "c3", "c4", "c5"]
        assert entries[0].texts[0]["semantic"].startswith("A cat meows. ")
        assert main(command(*model(server))) == 0  # they are kept in the folder
    assert summary()["corrected"] == 2
    listed(range(6), caption="something else")
    words = command(*model(server, "--annotator"), *model(server, "--decoupler"), output="new")
    assert main([*words, "--corrections", "mine.json"]) == 0
    listed(range(6))
    assert main(words) == 0  # another row of that id, about which nobody said anything
    assert not any(row.corrected for row in rows("new"))


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[", "cannot read the corrections"),
        ("[]", "are no object"),
        ('{"c0": {"section": {}}}', "for c0; expected {id:"),
        ('{"c0": {"sections": {"loud": "x"}}}', "have a section 'loud' for c0; expected semantic"),
    ],
)
def test_corrections_of_another_form_are_refused_before_anything_is_asked(text, says, server, folder, capsys):
    (folder / "mine.json").write_text(text)
    assert main(command(*model(server), "--corrections", "mine.json")) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert says in line
    assert not server.questions


def test_frames_and_times_of_the_annotation(server, folder):
    assert main(command(*model(server, "--annotator"), *model(server, "--decoupler"))) == 0
    times = times_of(server.questions[0]["messages"])
    assert (times[:3], len(times)) == ([0.0, 0.12, 0.25], 16)  # of a short clip, all at the rate of moments


def test_a_cache_that_cannot_be_written_stops_the_build_before_a_question(
    server, folder, tmp_path, monkeypatch, capsys
):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("PRISMAUDIO_CACHE", str(tmp_path / "file"))
    assert main(command(*model(server))) == 2
    assert "cannot write" in capsys.readouterr().err.splitlines()[-1]
    assert server.questions == []
