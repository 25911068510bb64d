from __future__ import annotations

import json
from pathlib import Path

import pytest

from prismaudio.cli.evaluate import find_suite
from prismaudio.cli.main import main
from prismaudio.errors import PrismAudioError


def test_truth_is_evaluated_as_truth(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    words = ["evaluate", "--suite", "studio", "--suite.count", "3", "-o", "out", "--audio", "truth=out/suite"]
    words += ["--model", "small=studio", "--steps", "1", "--baseline", "truth"]
    words += ["--rewards", "SemanticReward,TemporalReward", "--metrics", "OnsetF1,GccMse"]
    assert main(words) == 0
    found = json.loads(Path("out/results.json").read_text(encoding="utf-8"))
    cells = found["groups"]["all clips"]
    assert cells["OnsetF1"]["truth"]["value"] == 1
    assert cells["GccMse"]["truth"]["value"] == 0
    assert cells["GccMse"]["small"]["value"] > 0
    assert {"events: single", "events: multi"} & set(found["groups"])
    plan = json.loads(Path("out/clips.jsonl").read_text(encoding="utf-8").splitlines()[0])["plan"]
    made = json.loads(next(Path("out/systems/small/audio").glob("*.json")).read_text(encoding="utf-8"))
    assert plan.startswith("<Semantic>")
    assert made["plan_text"] != plan  # the model was given the video alone
    capsys.readouterr()
    assert main(words) == 0
    said = capsys.readouterr().err
    assert "rendered" not in said
    assert said.count("already scored") == 6


@pytest.mark.parametrize("arguments", [{"count": 0}, {"split": "wild"}])
def test_wrong_arguments(arguments):
    with pytest.raises(PrismAudioError, match="expected"):
        find_suite(json.dumps({"class_path": "studio", "init_args": arguments}))
