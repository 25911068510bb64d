"""``prismaudio evaluate strategies``."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from prismaudio.cli.evaluate_strategies import models_of
from prismaudio.cli.main import main
from prismaudio.errors import PrismAudioError
from prismaudio.media import write_video
from prismaudio.plan import Plan

IDS = ["a", "b"]
SCORERS = ("--rewards", "none", "--metrics", "OnsetF1,StereoWidth")
PLAN = "<Semantic> A bell rings. A drum booms. <Temporal> The bell sounds at 0.30 s. <Spatial> The drum is on the left."
WHOLE = "A bell rings. A drum booms. The bell sounds at 0.30 s. The drum is on the left."


@pytest.fixture
def work(tmp_path, monkeypatch):
    """A manifest of two clips with a flash, a plan and a sound; the first has a caption, too."""
    monkeypatch.chdir(tmp_path)
    frames = torch.zeros(16, 3, 32, 32, dtype=torch.uint8)
    frames[6:8] = 255
    rows = []
    for name in IDS:
        write_video(frames, 16, tmp_path / f"{name}.mp4")
        soundfile.write(tmp_path / f"{name}.wav", 0.1 * np.random.default_rng(0).standard_normal((16_000, 2)), 16_000)
        rows.append({"id": name, "video": f"{name}.mp4", "audio": f"{name}.wav", "plan": PLAN})
    rows[0]["caption"] = "A bell and a drum."
    write(rows)
    return tmp_path


def write(rows):
    Path("clips.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


def strategies(*words):
    return main(["evaluate", "strategies", "--suite", "clips.jsonl", "-o", "out", "--steps", "1", *SCORERS, *words])


def given(strategy, name):
    return json.loads(Path(f"out/systems/{strategy}/audio/{name}.json").read_text(encoding="utf-8"))["plan"]


def test_each_strategy_is_given_its_form_and_nothing_completes_it(work, tiny_model_folder, capsys):
    assert strategies("--model", str(tiny_model_folder)) == 0
    assert given("none", "a") == {"semantic": "A bell and a drum."}
    assert given("none", "b") == {"semantic": ""}
    assert given("monolithic", "a") == {"semantic": WHOLE}
    assert given("decomposed", "a") == dict(Plan.parse(PLAN))
    (shuffled,) = given("random", "a").values()
    assert Counter(shuffled.split()) == Counter(WHOLE.split())
    assert shuffled != WHOLE
    assert given("random", "b") != given("random", "a")
    found = json.loads(Path("out/results.json").read_text(encoding="utf-8"))
    assert (found["baseline"], list(found["systems"])) == ("none", ["none", "random", "monolithic", "decomposed"])
    assert found["paper"]["columns"] == ["CLAP", "DeSync", "CE", "CRW"]
    said = capsys.readouterr().out
    assert "none is given the caption; 1 of 2 clips have no caption and are given no text" in said
    assert "DeSync ↓" in said
    assert "StereoWidth" in said
    assert strategies("--model", str(tiny_model_folder)) == 0
    assert capsys.readouterr().err.count("already done") == 8


def test_a_planner_may_write_the_plans(work, tiny_model_folder, capsys):
    write([{"id": name, "video": f"{name}.mp4", "audio": f"{name}.wav"} for name in IDS])
    words = ("--model", str(tiny_model_folder), "--strategies", "none,decomposed")
    assert strategies(*words) == 2
    assert "2 of 2 clips of the suite have no plan, such as a;" in capsys.readouterr().err
    planned = (*words, "--plans", "planner", "--planner", "FlashPlanner")
    assert strategies(*planned) == 0
    assert capsys.readouterr().err.count("planned ") == 2
    rows = [json.loads(line) for line in Path("out/systems/plans.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [row["id"] for row in rows] == IDS
    made = json.loads(Path("out/systems/decomposed/audio/a.json").read_text(encoding="utf-8"))
    assert made["plan_text"] == rows[0]["plan"]
    assert strategies(*planned) == 0
    assert "planned " not in capsys.readouterr().err
    assert strategies(*words, "--plans", "planner") == 0  # another planner: that of the model
    assert capsys.readouterr().err.count("planned ") == 2


def test_models_of_strategies():
    every = ("none", "random")
    assert models_of(["m"], every) == {"none": "m", "random": "m"}
    assert models_of(["random=r", "m"], every) == {"none": "m", "random": "r"}
    for texts, error in (
        ([], "no model is given plans of the form none"),
        (["random=r"], "no model is given plans of the form none"),
        (["randon=r"], "did you mean 'random'"),
        (["m", "n"], "expected one model of all strategies"),
        (["none=m", "none=n"], "expected one model of the strategy none"),
        (["none="], "expected one model of the strategy none"),
        (["m", "decomposed=d"], "decomposed is not one of --strategies none,random"),
    ):
        with pytest.raises(PrismAudioError, match=error):
            models_of(texts, every)


@pytest.mark.parametrize(
    ("words", "error"),
    [
        ((), "no model is given plans of the form none"),
        (("--model", "m", "--strategies", "nope"), "no strategy is named 'nope'"),
        (("--model", "m", "--planner", "FlashPlanner"), "writes the plans only with --plans planner"),
        (("--model", "m", "--metrics", "NoMetric"), "no metric is named 'NoMetric'"),
        (("--model", "m", "--audio", "x"), "unrecognized arguments"),
    ],
)
def test_bad_input_is_one_line(work, capsys, words, error):
    assert strategies(*words) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert error in line
    assert not Path("out").exists()


def test_generate_completes_no_plan_without_a_planner(work, tiny_model_folder):
    words = ["generate", "a.mp4", "--model", str(tiny_model_folder), "--steps", "1", "-o", "one"]
    assert main([*words, "--plan", "<Semantic> A bell rings.", "--planner", "none"]) == 0
    made = json.loads(Path("one/a.json").read_text(encoding="utf-8"))
    assert made["plan"] == {"semantic": "A bell rings."}
    assert main([*words, "--plan", "<Semantic> A bell rings."]) == 0  # another request
    assert "temporal" in json.loads(Path("one/a.json").read_text(encoding="utf-8"))["plan"]
