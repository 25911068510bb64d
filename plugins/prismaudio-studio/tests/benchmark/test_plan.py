"""``prismaudio bench plan``: planners on held-out clips, and on videos with sound."""

from __future__ import annotations

import json
import re
from typing import ClassVar

import pytest
import torch

from prismaudio.cli.main import main
from prismaudio.media import write_video
from prismaudio.plan import CORE
from prismaudio.planners.base import Planner
from prismaudio_studio.benchmark import plan as benchmark
from prismaudio_studio.world import sample_scene
from prismaudio_studio.world.files import write_scene


def run(tmp_path, *options, code=0):
    out = tmp_path / "out.json"
    assert main(["bench", "plan", *map(str, options), "--json", str(out), "--force"]) == code
    return json.loads(out.read_text()) if code == 0 else None


def mean(read, row, column):
    return read["rows"][row][column]["mean"]


def test_planners_are_measured_against_the_truth(tiny_model_folder, tmp_path, capsys) -> None:
    read = run(
        tmp_path,
        *("--limit", 4, "--seed", 5, "--model", tiny_model_folder, "--text-encoder", "HashedTextEncoder"),
        *("--planner", "FlashPlanner", "--planner.what", "dog", "--planner", "FlashPlanner", "--frame-size", 32),
    )
    assert list(read["rows"]) == ["truth", "shuffled", "model", "FlashPlanner", "FlashPlanner 2"]
    truth, chance = read["rows"]["truth"], read["rows"]["shuffled"]
    for column, cell in truth.items():
        if column.startswith(("event_", "onset_", "class_")) or column in {"validity_rate", "section_coverage"}:
            assert cell["mean"] == pytest.approx(1), column
            assert chance[column]["mean"] <= 1
    assert mean(read, "shuffled", "event_f1_50ms") < 0.3
    assert mean(read, "truth", "missed_events") == mean(read, "truth", "contradictions") == 0
    assert mean(read, "truth", "direction_error_deg") < 1
    assert truth["seconds"] is None
    assert mean(read, "model", "seconds") > 0
    meta = read["meta"]
    assert (meta["clips"], meta["reference"], meta["seed"]) == (4, "truth", 5)
    assert meta["frames"]["model"]["size"] == 48
    assert meta["frames"]["FlashPlanner"] == {"fps": 16.0, "size": 32, "keep_aspect_ratio": True}
    assert json.loads(meta["planners"]["FlashPlanner"])["init_args"] == {"what": "dog"}
    shown = capsys.readouterr().out
    assert "plans of 4 plain held-out clips" in shown
    assert re.search(r"event_f1_50ms[ │]+1\.000 ", shown)
    assert re.search(r"seconds[ │]+- ", shown)
    assert "±" not in shown


def test_the_trained_model_is_far_above_chance(tmp_path) -> None:
    read = run(tmp_path, "--limit", 6, "--split", "randomised")
    assert mean(read, "model", "event_f1_100ms") > 0.7 > 0.3 > mean(read, "shuffled", "event_f1_100ms")
    assert mean(read, "model", "direction_error_deg") < 10
    assert mean(read, "model", "validity_rate") == 1


class FileReader(Planner):
    """Keeps whether there is a file, how large its frames are and what is asked; then it fails."""

    seen: ClassVar[list[tuple[object, ...]]] = []

    def plan(self, clip, dimensions, given=None):
        self.seen.append((clip.file.is_file(), tuple(clip.frames.shape[-2:]), [d.name for d in dimensions]))
        raise MemoryError("too large")


def test_planners_that_fail_are_counted_and_filmed_clips_have_files(tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.setattr(benchmark, "make_planner", lambda text, device: FileReader())
    FileReader.seen.clear()
    read = run(tmp_path, "--limit", 2, "--picture", "filmed", "--planner", "FlashPlanner", "--frame-size", 40)
    assert FileReader.seen == [(True, (40, 40), list(CORE))] * 2
    assert mean(read, "FileReader", "failed") == 2
    assert mean(read, "FileReader", "event_f1_50ms") == 0
    assert mean(read, "model", "event_f1_50ms") > 0
    assert [line.split(": ", 1)[1] for line in read["meta"]["failures"]["FileReader"]] == ["MemoryError: too large"] * 2
    assert "FileReader failed on plain-held-out-0-00000: MemoryError: too large" in capsys.readouterr().out


def test_the_planner_of_a_model_folder_gets_frames_of_its_model(tiny_model_folder, tmp_path) -> None:
    read = run(tmp_path, "--limit", 2, "--planner", tiny_model_folder)
    assert read["meta"]["frames"]["EventPlanner"]["size"] == 48
    assert mean(read, "EventPlanner", "failed") == 0


def test_videos_are_measured_against_their_sound(tmp_path, capsys) -> None:
    """On videos of the world the planner of the model finds the onsets and directions that are heard."""
    folder = tmp_path / "videos"
    folder.mkdir()
    for index in range(3):
        write_scene(sample_scene(index, 0, "plain", held_out=True), tmp_path / "made", (96, 96), 24.0)
    for path in (tmp_path / "made").glob("*.mp4"):
        if ".silent." not in path.name:
            path.rename(folder / path.name)
    silent = tmp_path / "silent.mp4"
    write_video(torch.zeros(8, 3, 16, 16, dtype=torch.uint8), 8.0, silent)
    (folder / "broken.mp4").write_bytes(b"no video")
    read = run(tmp_path, "--videos", folder, silent)
    assert list(read["rows"]) == ["shuffled", "model"]
    assert mean(read, "model", "onset_f1_50ms") > 0.8 > mean(read, "shuffled", "onset_f1_50ms")
    assert mean(read, "model", "direction_error_deg") < 20
    assert (read["meta"]["clips"], read["meta"]["reference"]) == (3, "sound")
    for column in ("event_f1_50ms", "class_match", "temporal_iou"):
        assert read["rows"]["model"][column] is None
    assert len(read["meta"]["skipped"]) == 2
    printed = capsys.readouterr()
    assert "event_f1" not in printed.out
    assert "silent.mp4 has no sound to compare a plan with" in printed.err


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (["--planner", "NoPlanner"], "NoPlanner"),
        (["--planner", "FlashPlanner", "--planner.depth", "3"], "which FlashPlanner does not take"),
        (["--planner.what", "dog"], "belongs to no planner"),
        (["--text-encoder", "PlanGridEncoder"], "PlanGridEncoder"),
        (["--text-encoder", "MotionGridEncoder"], "encodes no text"),
        (["--model", "nowhere"], "no model at nowhere"),
        (["--videos", "nowhere.mp4"], "none of the 1 videos can be measured"),
        (["--limit", "0"], "--limit"),
        (["--frame-size", "2"], "--frame-size"),
    ],
)
def test_bad_input_is_one_line_and_exit_2(options, text, capsys) -> None:
    assert main(["bench", "plan", "--limit", "1", *options]) == 2
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert error.startswith("prismaudio: error: ")
    assert text in error
