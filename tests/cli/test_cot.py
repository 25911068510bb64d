"""``prismaudio cot build`` on plans of a manifest, and training on what it writes."""

from __future__ import annotations

import json

import pytest
import torch
from recipe_runs import train
from safetensors.torch import load_file
from stages import trainer

from prismaudio.cli.main import main
from prismaudio.cot.rows import read_rows
from prismaudio.data.datamodule import ManifestDataModule
from prismaudio.data.manifest import read_manifest
from prismaudio.data.synthetic import SyntheticClips
from prismaudio.media import write_video, write_video_with_audio
from prismaudio.training.foundation import FoundationTask
from prismaudio.types import Clip

N_CLIPS = 6


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Videos of clicks and flashes, with captions and their true plans in a manifest; the last has a wrong time."""
    folder = tmp_path_factory.mktemp("made")
    clips, lines = SyntheticClips(0, N_CLIPS, 2.0, 8.0, 48, 16_000), []
    for number in range(N_CLIPS):
        clip, plan = clips.clip(number)
        write_video(clip.frames, 8.0, folder / "mute.mp4")
        write_video_with_audio(folder / "mute.mp4", clip.audio, 16_000, folder / f"c{number}.mp4")
        if number == N_CLIPS - 1:
            plan = plan.replace({"temporal": "The click sounds at 1.90 s."})
        split = "val" if number == 0 else "train"
        texts = {"caption": "a click", "plan": dict(plan), "label": f"click {number}", "start_s": 0, "end_s": 2.0}
        lines.append(json.dumps({"id": f"c{number}", "video": f"c{number}.mp4", "split": split, **texts}))
    (folder / "clips.jsonl").write_text("\n".join(lines) + "\n")
    return folder


@pytest.fixture
def work(made, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return made


def build(made, *words, output="cot"):
    return main(["cot", "build", str(made / "clips.jsonl"), "-o", output, "--gate", "none", "--workers", "0", *words])


def test_plans_of_a_manifest_are_scored_and_filtered(work, tmp_path, capsys):
    assert build(work, "--min-reward", "TemporalReward=0.5") == 0
    rows = list(read_rows(tmp_path / "cot"))
    assert [row.accepted for row in rows] == [True] * (N_CLIPS - 1) + [False]
    assert rows[-1].scores["TemporalReward"] < 0.5 < rows[0].scores["TemporalReward"]
    lines = [json.loads(line) for line in (tmp_path / "cot" / "manifest.jsonl").read_text().splitlines()]
    assert [line["label"] for line in lines] == [f"click {number}" for number in range(N_CLIPS - 1)]
    assert {name: lines[0][name] for name in ("caption", "split", "start_s", "end_s")} == {
        "caption": "a click",
        "split": "val",
        "start_s": 0,
        "end_s": 2.0,
    }
    assert (tmp_path / "cot" / lines[0]["video"]).samefile(work / "c0.mp4")
    assert "TemporalReward: mean 0" in (told := capsys.readouterr().err)
    assert "1 below 0.5" in told
    assert build(work) == 0  # a threshold is no setting of the rows
    assert "0 rows written, 6 already there; 6 of 6 rows are accepted" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--annotator", "FlashPlanner"], "--annotator and --decoupler belong together"),
        (["--planner", "FlashPlanner", "--decoupler", "FlashPlanner"], "--planner writes the sections at once"),
        (["--planner", "FlashPlanner", "--planner", "FlashPlanner"], "--planner is given twice"),
        (["--annotator", "FlashPlanner", "--decoupler", "FlashPlanner"], "FlashPlanner is no Annotator"),
        (["--samples", "2"], "--samples 2 needs a model to ask"),
        (["--annotator.model", "a"], "--annotator.model belongs to no annotator; write --annotator CLASS before it"),
        (["--min-reward", "TemporalReward"], "is not NAME=VALUE"),
        (["--min-reward", "LoudReward=1"], "--min-reward LoudReward: this reward is not computed"),
        (["--reward", "NoReward"], "no reward is named 'NoReward'"),
        (["--corrections", "none.json"], "cannot read the corrections"),
        (["--part", "3/2"], "'3/2' is not a part"),
        (["--part", "1/2", "--devices", "2"], "--part and --devices exclude each other"),
    ],
)
def test_options_that_do_not_go_together_are_one_line(words, says, work, capsys):
    assert build(work, *words) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert says in line


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--min-reward", "TemporalReward=nan"], "'TemporalReward=nan' is not NAME=VALUE"),
        (["--min-reward", "=0.5"], "'=0.5' is not NAME=VALUE"),
        (["--gate", "LeakGate", "--gate", "LeakGate"], "--gate names LeakGate twice"),
        (["--reward", "TemporalReward", "--reward", "TemporalReward"], "--reward names TemporalReward twice"),
        (
            ["--gate", "{class_path: OnsetGate, init_args: {tolerance_s: -1}}"],
            "tolerance_s is -1; expected 0.001 to 60",
        ),
    ],
)
def test_thresholds_and_gates_that_make_no_sense(words, says, work, capsys):
    assert main(["cot", "build", str(work / "clips.jsonl"), "-o", "cot", *words]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert says in line


def test_a_folder_without_a_row_takes_other_settings(work, tmp_path, capsys):
    (tmp_path / "bare.csv").write_text(f"video\n{work / 'c0.mp4'}\n")
    words = ["cot", "build", "bare.csv", "-o", "cot", "--workers", "0"]
    assert main([*words, "--gate", "none"]) == 2  # there is no plan
    assert main([*words, "--planner", "FlashPlanner"]) == 0
    assert main([*words, "--planner", "FlashPlanner", "--gate", "none"]) == 2
    assert "has rows of other settings" in capsys.readouterr().err


def test_a_correction_of_a_row_that_has_changed_is_named(work, tmp_path, capsys):
    (tmp_path / "fix.json").write_text('{"c1": {"accepted": false}}')
    assert build(work, "--corrections", "fix.json") == 0
    assert "5 of 6 rows are accepted" in capsys.readouterr().err
    text = (work / "clips.jsonl").read_text()
    try:
        (work / "clips.jsonl").write_text(text.replace('"id": "c1"', '"id": "c1", "aesthetic": "A noisy recording."'))
        assert build(work) == 0
    finally:
        (work / "clips.jsonl").write_text(text)
    assert "corrections of rows that have changed are not applied: c1" in capsys.readouterr().err


def test_a_command_that_is_not_there(capsys):
    assert main(["cot", "make"]) == 2
    assert "invalid choice: 'make'" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(["cot", "--help"])
    assert "build" in capsys.readouterr().out


def test_a_planner_of_this_machine_writes_sections(work, tmp_path):
    assert build(work, "--planner", "FlashPlanner", "--planner.what", "horn", "--batch-size", "2") == 0
    settings = json.loads((tmp_path / "cot" / "summary.json").read_text())["settings"]
    assert settings["planner"]["class"] == "FlashPlanner"
    assert len(settings["planner"]["weights"]) > 8
    rows = list(read_rows(tmp_path / "cot"))
    assert len(rows) == N_CLIPS
    assert {origin["planner"] for row in rows for origin in row.origins.values()} <= {"FlashPlanner"}


def test_features_of_a_strategy_are_those_of_its_column(work, tmp_path, tiny_plugin):
    assert build(work) == 0
    kept = {}
    for column in ("plan", "plan_monolithic", "plan_random", "plan_none"):
        words = ["--encoder", "text=TinyTextEncoder", "--encoder", "video=BrightnessEncoder", "--autoencoder", "none"]
        assert main(["extract", "cot/manifest.jsonl", "-o", column, "--plan-column", column, *words]) == 0
        kept[column] = load_file(tmp_path / column / "shard-00000.safetensors")["c0/text"]
    assert kept["plan_none"].shape[0] < kept["plan_monolithic"].shape[0] == kept["plan_random"].shape[0]
    assert not torch.equal(kept["plan_monolithic"], kept["plan_random"])
    assert main(["extract", "cot/manifest.jsonl", "-o", "x", "--plan-column", "plan_half", *words]) == 2


@pytest.mark.slow
def test_the_manifest_trains_a_planner_and_fast_grpo_without_a_further_step(work, tmp_path):
    assert build(work) == 0
    data = ["--data", "ManifestDataModule", "--data.validation", "0", "--data.workers", "0", "--data.batch_size", "2"]
    media = ["--data.manifest", "cot/manifest.jsonl", "--data.max_s", "2", "--data.fps", "8", "--data.frame_size", "16"]
    train(tmp_path, "fit", "--config", "smoke/cot_tuning", *data, *media, "--trainer.max_steps", "4")
    train(tmp_path, "fit", "--config", "smoke/fast_grpo", *data, *media, "--trainer.max_steps", "2")


def test_the_foundation_model_trains_on_features_of_a_strategy(work, tmp_path, tiny_model_folder):
    """The text that it reads is that of the column."""
    assert build(work) == 0
    words = ["--model", str(tiny_model_folder), "--plan-column", "plan_monolithic"]
    assert main(["extract", "cot/manifest.jsonl", "-o", "features", *words]) == 0
    task = FoundationTask(pretrained=str(tiny_model_folder))
    data = ManifestDataModule("features", batch_size=2, workers=0)
    run = trainer(tmp_path, max_steps=2)
    run.fit(task, data)
    assert run.global_step == 2
    assert run.callback_metrics["val_loss"].isfinite()
    (batch,) = data.val_dataloader()
    assert batch.ids == ["c0"]
    plan = read_manifest("cot/manifest.jsonl", plan_column="plan_monolithic")[0].texts[0]
    text = task.encoders["text"].encode(Clip("c0", 2.0), plan)
    torch.testing.assert_close(batch.conditions["text"].values[0], text)
