"""``prismaudio bench plan`` measures a planner behind an endpoint and one on this machine beside the studio's."""

from __future__ import annotations

import json

import pytest
from chat_server import serving

pytest.importorskip("prismaudio_studio")


def test_planners_that_ask_models_are_measured_with_seconds_and_tokens(folders, tmp_path, monkeypatch) -> None:
    from prismaudio.cli.main import main

    monkeypatch.setenv("PRISMAUDIO_CACHE", str(tmp_path / "cache"))
    out = tmp_path / "out.json"
    with serving() as server:
        options = ["--planner", "ApiPlanner", "--planner.model", "test-vlm", "--planner.base_url", server.url]
        local = ["--planner", "VlmPlanner", "--planner.model", str(folders("idefics3")), "--planner.max_tokens", "8"]
        small = ["--planner.max_frames", "2", "--planner.retries", "0"]
        command = ["bench", "plan", "--limit", "2", "--frame-size", "32", "--device", "cpu", "--json", str(out)]
        assert main([*command, *options, *local, *small]) == 0
    rows = json.loads(out.read_text())["rows"]
    assert list(rows) == ["truth", "shuffled", "model", "ApiPlanner", "VlmPlanner"]
    asked = {column: rows["ApiPlanner"][column]["mean"] for column in ("asked", "prompt_tokens", "failed")}
    assert asked == {"asked": 1, "prompt_tokens": 400, "failed": 0}
    assert rows["ApiPlanner"]["validity_rate"]["mean"] == rows["ApiPlanner"]["section_coverage"]["mean"] == 1
    assert rows["ApiPlanner"]["tokens"]["mean"] > 4
    assert rows["ApiPlanner"]["class_match"]["mean"] == 0  # it always writes of a dog
    assert rows["VlmPlanner"]["seconds"]["mean"] > 0
    # random weights write nonsense, which is left out
    assert rows["VlmPlanner"]["event_f1_250ms"]["mean"] == 0
