"""Planners that are named on the command line."""

from __future__ import annotations

import json

import pytest
import torch

from prismaudio.cli.building import join_planner_arguments
from prismaudio.cli.main import main
from prismaudio.errors import PrismAudioError
from prismaudio.media import write_video
from prismaudio.plan import Plan

PARTIAL = "<Semantic> A horn blows. <Spatial> The horn is on the left (azimuth -40°)."


@pytest.fixture
def video(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    frames = torch.zeros(16, 3, 32, 32, dtype=torch.uint8)
    frames[6:] = 255
    write_video(frames, 16, tmp_path / "a.mp4")
    return "a.mp4"


def planned(capsys, *words):
    assert main(["plan", *map(str, words), "-o", "-"]) == 0
    return capsys.readouterr()


def test_arguments_of_a_planner_are_joined_to_it():
    words = ["a.mp4", "--planner", "A", "--planner.size=3", "--planner=B", "--planner.url", "http://127.0.0.1:8000/v1"]
    first, second = (json.loads(word.partition("=")[2]) for word in join_planner_arguments(words)[1:])
    assert first == {"class_path": "A", "init_args": {"size": 3}}
    assert second == {"class_path": "B", "init_args": {"url": "http://127.0.0.1:8000/v1"}}
    assert join_planner_arguments(["--", "--planner.size", "3"]) == ["--", "--planner.size", "3"]
    for wrong in (["--planner.size", "3"], ["--planner"], ["--planner", "A", "--planner.size"]):
        with pytest.raises(PrismAudioError):
            join_planner_arguments(wrong)


def test_a_planner_by_class_needs_no_model(video, capsys, monkeypatch):
    monkeypatch.setenv("PRISMAUDIO_DISABLE_PLUGINS", "studio")
    written = planned(capsys, video, "--planner", "FlashPlanner", "--planner.what", "horn").out
    assert written.startswith("<Semantic>")
    assert main(["plan", video, "--planner", "FlashPlanner", "--planner.whom", "horn", "-o", "-"]) == 2
    assert "has 'whom', which FlashPlanner does not take" in capsys.readouterr().err


def test_a_planner_from_a_yaml_file_and_from_a_model(video, tmp_path, tiny_model_folder, capsys):
    (tmp_path / "p.txt").write_text(PARTIAL)
    (tmp_path / "planner.yaml").write_text("class_path: FilePlanner\ninit_args: {path: p.txt}\n")
    words = (video, "--planner", "planner.yaml", "--planner", tiny_model_folder)
    plan = Plan.parse(planned(capsys, *words).out)
    assert plan["semantic"] == "A horn blows."
    assert plan["temporal"]
    (tmp_path / "planner.yaml").write_text("path: p.txt\n")
    assert main(["plan", video, "--planner", "planner.yaml", "-o", "-"]) == 2
    assert "expected {class_path: NAME" in capsys.readouterr().err
    assert main(["plan", video, "--planner", "NoSuchPlanner", "-o", "-"]) == 2
    assert "NoSuchPlanner" in capsys.readouterr().err


def test_the_planner_of_the_model_writes_what_is_missing_and_json_says_who_wrote_what(
    video, tmp_path, tiny_model_folder, capsys
):
    (tmp_path / "p.txt").write_text(PARTIAL)
    words = ["generate", video, "--model", str(tiny_model_folder), "--steps", "1", "-o", "out"]
    chosen = ["--planner", "FilePlanner", "--planner.path", "p.txt"]
    assert main([*words, *chosen]) == 0
    told = json.loads((tmp_path / "out" / "a.json").read_text())
    assert told["plan"]["semantic"] == "A horn blows."
    assert told["plan_origins"]["semantic"] == {"planner": "FilePlanner"}
    assert told["plan_origins"]["temporal"]["planner"] not in ("FilePlanner", "user")
    assert told["plan_origins"].keys() == told["plan"].keys()

    capsys.readouterr()
    assert main([*words, *chosen]) == 0
    assert "already done" in capsys.readouterr().err
    assert main(words) == 0
    assert "already done" not in capsys.readouterr().err
    told = json.loads((tmp_path / "out" / "a.json").read_text())
    assert "FilePlanner" not in str(told["plan_origins"])
