"""A suite built of clips of the world with a planted imbalance, planted speech and clips that a system solves."""

from __future__ import annotations

import csv
import json
import shutil
from collections import Counter
from pathlib import Path

import pytest

from prismaudio.cli.main import main
from prismaudio_studio.world import sample_scene
from prismaudio_studio.world.files import clip_files, write_scene

WANTED = {"engine": 7, "bell": 2, "drum": 2, "several": 3}


def planted(folder):
    """The rows of ``clips.csv``: far more engines than others, of which the first one has speech as well."""
    wanted, rows, index = Counter(WANTED), [], 0
    while +wanted:
        scene = sample_scene(index, 0, "plain", held_out=True)
        labels = sorted({source.what for source in scene.story.sources})
        kind = labels[0] if len(labels) == 1 else "several"
        index += 1
        if wanted[kind] <= 0:
            continue
        labels += ["Speech"] * (kind == "engine" and wanted[kind] == WANTED["engine"])
        wanted[kind] -= 1
        write_scene(scene, folder, (32, 32), 4.0)
        video = clip_files(folder, scene.id).path(".mp4")
        rows.append(
            {"id": f"take{len(rows)}", "video": str(video), "label": "; ".join(labels), "link": "https://x.org/"}
        )
    return rows


@pytest.fixture
def rows(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("clips").mkdir()
    rows = planted(Path("clips"))
    with Path("clips.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    return rows


def test_the_suite_is_balanced_without_speech_and_without_what_is_solved(rows):
    solved = [row["id"] for row in rows if row["label"] in ("bell", "engine")][:3]
    Path("system").mkdir()
    (hum,) = [Path(row["video"]).with_suffix(".wav") for row in rows if "Speech" in row["label"]]
    for row in rows:
        own = Path(row["video"]).with_suffix(".wav")
        shutil.copy(own if row["id"] in solved else hum, f"system/{row['id']}.wav")
    words = ["--audio", "one=system", "--rewards", "TemporalReward", "--metrics", "none", "-o", "evaluation"]
    assert main(["evaluate", "--suite", "clips.csv", *words]) == 0
    words = ["--per-class", "2", "--scores", "evaluation", "--solved", "TemporalReward>=0.99"]
    assert main(["suite", "build", "clips.csv", "-o", "suite", *words]) == 0
    described = json.loads(Path("suite/suite.json").read_text())
    single = {name: n["single"] for name, n in described["classes"].items() if n["single"]}
    left = [json.loads(line) for line in Path("suite/left_out.jsonl").read_text().splitlines()]
    assert described["classes"]["engine"]["before"] >= 7
    assert single["engine"] == 2
    assert max(single.values()) == 2
    assert described["multi"] >= 1
    assert described["excluded"] == {"Speech": 1}
    assert set(solved) <= {one["id"] for one in left if one["step"] == "solved by systems"}
    chosen = [json.loads(line) for line in Path("suite/clips.jsonl").read_text().splitlines()]
    assert not set(solved) & {row["original"] for row in chosen}
    assert all("Speech" not in row["class"] for row in chosen)


def test_plans_of_cot_build_become_those_of_the_suite(rows):
    assert main(["suite", "build", "clips.csv", "-o", "suite", "--per-class", "1", "--multi", "1"]) == 0
    assert main(["cot", "build", "suite/clips.jsonl", "-o", "cot", "--planner", "studio", "--gate", "none"]) == 0
    words = ["--per-class", "1", "--multi", "1", "--plans", "cot"]
    assert main(["suite", "build", "clips.csv", "-o", "suite", *words]) == 0
    published = [json.loads(line) for line in Path("suite/published/manifest.jsonl").read_text().splitlines()]
    assert {row["id"] for row in published} == {"bell_1", "drum_1", "engine_1", "Multiple events_1"}
    accepted = [json.loads(line)["id"] for line in Path("cot/manifest.jsonl").read_text().splitlines()]
    assert accepted
    assert [row["id"] for row in published if row.get("plan", "").startswith("<Semantic>")] == accepted
