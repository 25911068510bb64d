"""Every recipe of the core and of the plugins parses. The studio tests its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from recipe_runs import check_first_line, printed

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
