"""Every recipe of the core and of the plugins parses; every smoke recipe trains. The studio tests its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import yaml
from recipe_runs import check_first_line, check_resuming, logged, printed, train

from prismaudio.checkpoints import load_components, loadable
from prismaudio.models.dit import published_streams
from prismaudio.registry import discover

RECIPES = {
    entry.name: Path(str(entry.item))
    for entry in discover().entries
    if entry.kind == "recipes" and entry.plugin.distribution != "prismaudio-studio"
}
ADDITIONS = {
    **dict.fromkeys(
        [f"foundation/{name}" for name in ("fsdp", "clip", "xclip", "t5-base", "t5-large")], "foundation/paper"
    ),
    "cot/vlm_fsdp": "cot/paper",
}
"""What is given after another recipe, and that one."""
SLURM = Path(str(RECIPES["foundation/paper"])).parents[1] / "slurm.sbatch"
SMOKE = [name for name in RECIPES if name.startswith("smoke/") and name != "smoke/cot_vlm"]
"""Recipes that are trained here; prismaudio-vlm trains its own, for which a model is made first."""


@pytest.mark.parametrize("name", RECIPES)
def test_its_first_line_describes_it(name):
    check_first_line(RECIPES[name])


@pytest.mark.parametrize("name", RECIPES)
def test_it_parses(name, capsys):
    before = [ADDITIONS[name]] if name in ADDITIONS else []
    assert printed(capsys, *before, name)["model"]["class_path"].startswith("prismaudio")


def test_an_addition_changes_what_it_names_and_nothing_else(capsys):
    recipe = printed(capsys, "foundation/paper", "foundation/fsdp")
    assert recipe["trainer"]["strategy"] == "fsdp"
    assert recipe["model"]["init_args"]["gradient_checkpointing"] is True
    assert recipe["model"]["init_args"]["time_sampler"] == "truncated_logit_normal"


def test_the_planner_of_the_paper_is_trained_as_the_paper_says(capsys):
    recipe = printed(capsys, "cot/paper", "cot/vlm_fsdp")
    task, trainer = recipe["model"]["init_args"], recipe["trainer"]
    assert task["optimizer"]["class_path"] == "torch.optim.AdamW"
    assert task["optimizer"]["init_args"]["lr"] == 2e-5
    tuning = task["planner"]["init_args"]["tuning"]
    assert (tuning["lora"], tuning["projector"], tuning["encoders"]) == (None, True, False)
    assert recipe["data"]["init_args"]["batch_size"] * trainer["accumulate_grad_batches"] * 8 == 128
    assert (trainer["max_epochs"], trainer["strategy"], trainer["devices"]) == (10, "fsdp", "auto")
    assert printed(capsys, "cot/vlm_lora")["model"]["init_args"]["planner"]["init_args"]["tuning"]["lora"]["rank"] == 16


@pytest.mark.parametrize(
    ("name", "dims"),
    [("clip", (768, 768, 1024)), ("xclip", (512, 768, 1024)), ("t5-base", (1024, 768, 768)), ("t5-large", None)],
)
def test_the_comparison_of_encoders_changes_one_stream(capsys, name, dims):
    recipe = printed(capsys, "foundation/paper", f"foundation/{name}")
    transformer = recipe["model"]["init_args"]["transformer"]["init_args"]
    streams = transformer["streams"] and {key: value["init_args"] for key, value in transformer["streams"].items()}
    assert (streams and tuple(streams[stream]["dim"] for stream in ("video", "sync", "text"))) == dims
    usual = {stream: conditioner.config for stream, conditioner in published_streams().items()}
    assert {k: {**v, "dim": 0} for k, v in (streams or usual).items()} == {k: {**v, "dim": 0} for k, v in usual.items()}
    assert recipe["data"]["init_args"] | {"manifest": ""} == {
        **printed(capsys, "foundation/paper")["data"]["init_args"],
        "manifest": "",
    }


@pytest.mark.slow
def test_a_model_of_the_published_streams_is_exported_with_its_encoders(trained):
    model = trained / "runs" / "smoke" / "published"
    found = load_components(model, loadable(discover().components()))
    assert {"video_encoder", "sync_encoder", "text_encoder", "transformer", "autoencoder"} <= set(found)
    clip = Path(__file__).parents[2] / "samples" / "bell_and_ball.mp4"
    train(
        trained, "generate", str(clip), "--model", str(model), "--prompt", "A bell rings.", "--steps", "1", "-o", "out"
    )
    assert (trained / "out" / "bell_and_ball.wav").stat().st_size > 100_000


def test_the_slurm_script_is_bash_and_its_options_exist(tmp_path):
    subprocess.run(["bash", "-n", str(SLURM)], check=True)
    (tmp_path / "srun").write_text(f'#!/bin/sh\nshift\nexec {sys.executable} -m prismaudio "$@" --print_config\n')
    (tmp_path / "srun").chmod(0o755)
    slurm = {"SLURM_JOB_ID": "7", "SLURM_NNODES": "2", "SLURM_NTASKS_PER_NODE": "8"}
    path = {"PATH": f"{tmp_path}:{os.environ['PATH']}", "RECIPES": "foundation/paper foundation/fsdp"}
    done = subprocess.run(
        ["bash", str(SLURM)], capture_output=True, text=True, cwd=tmp_path, env={**os.environ, **slurm, **path}
    )
    assert done.returncode == 0, done.stderr[-2000:]
    trainer = yaml.safe_load(done.stdout)["trainer"]
    assert (trainer["num_nodes"], int(trainer["devices"]), trainer["strategy"]) == (2, 8, "fsdp")
    assert trainer["logger"]["init_args"]["save_dir"] == "runs/slurm-7"


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A folder in which every smoke recipe was trained, in order: a later stage may go on from an earlier one."""
    folder = tmp_path_factory.mktemp("smoke")
    for name in SMOKE:
        train(folder, "fit", "--config", name)
    return folder


@pytest.mark.slow
def test_every_smoke_recipe_trains(trained):
    made = {path.name for path in (trained / "runs" / "smoke").iterdir()}
    assert made >= {"foundation", "cot_tuning", "fast_grpo", "model", "aligned-model"}
    assert set(load_components(trained / "runs" / "smoke" / "model")) >= {"transformer", "planner"}


@pytest.mark.slow
def test_the_planning_stage_learns_to_write_what_flashes(trained):
    (run,) = (trained / "runs" / "smoke" / "cot_tuning").glob("version_*")
    losses = logged(run, "train_loss")
    assert losses[-1] < 0.5 * losses[0]


@pytest.mark.slow
def test_the_foundation_stage_lowers_its_loss_and_resumes_to_identical_numbers(trained):
    (run,) = (trained / "runs" / "smoke" / "foundation").glob("version_*")
    losses = logged(run, "val_loss")
    assert losses[-1] < 0.95 * losses[0]
    check_resuming(trained, run, "smoke/foundation", load_components)


@pytest.mark.slow
def test_the_word_fsdp_means_fsdp2_and_its_checkpoint_becomes_a_model(trained):
    words = ["--trainer.strategy", "fsdp", "--trainer.logger.save_dir", "sharded"]
    train(trained, "fit", "--config", "smoke/foundation", *words)
    (checkpoint,) = (trained / "sharded").rglob("step=10.ckpt")
    assert checkpoint.is_dir()
    train(trained, "export", str(checkpoint), "whole", "--config", "smoke/foundation")
    (before,) = (trained / "runs" / "smoke" / "foundation").rglob("step=10.ckpt")
    expected = torch.load(before, weights_only=True)["state_dict"]
    for name, weight in load_components(trained / "whole")["transformer"].state_dict().items():
        average = expected[f"average.transformer/{name.replace('.', '/')}"]
        torch.testing.assert_close(weight, average, rtol=1e-3, atol=1e-4)
