"""The smoke recipe, as a user runs it: two families learn eight plans exactly; a run that was killed goes on."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from recipe_runs import logged, train

from prismaudio.builtin import CORE_DIMENSIONS
from prismaudio.checkpoints import load_components, loadable
from prismaudio.data.synthetic import SyntheticClips
from prismaudio.registry import discover
from prismaudio_vlm.reduced import save_reduced

FIT = ("fit", "--config", "smoke/cot_vlm")
SHORT = """
trainer:
  max_steps: 12
  val_check_interval: 100
  logger: {class_path: lightning.pytorch.loggers.CSVLogger, init_args: {save_dir: NAME, name: null}}
  callbacks:
    - class_path: lightning.pytorch.callbacks.ModelCheckpoint
      init_args: {filename: "{step}", every_n_train_steps: 4, save_top_k: -1}
    - {class_path: ExportComponents, init_args: {folder: NAME/model}}
"""


@pytest.mark.slow
@pytest.mark.parametrize("family", ["qwen3_vl", "gemma3"])
def test_a_family_writes_the_plans_of_eight_clips_exactly(family, tmp_path):
    save_reduced(family, tmp_path / "runs" / "smoke" / "vlm")
    train(tmp_path, *FIT)
    run = tmp_path / "runs" / "smoke" / "cot_vlm" / "version_0"
    losses = logged(run, "train_loss")
    assert losses[0] > 5
    assert losses[-1] < 0.03
    planner = load_components(tmp_path / "runs" / "smoke" / "planner", loadable(discover().components()))["planner"]
    clips, plans = zip(*(SyntheticClips(0, 8, 1.0, 8.0, 16, 16_000).clip(n) for n in range(8)), strict=True)
    assert [dict(plan) for plan in planner.plan_batch(clips, CORE_DIMENSIONS)] == [dict(plan) for plan in plans]
    assert len({plan["temporal"] for plan in plans}) == 8  # it cannot have learnt one plan


@pytest.mark.slow
def test_a_run_that_was_killed_goes_on_to_the_same_weights(tmp_path):
    save_reduced("qwen3_vl", tmp_path / "runs" / "smoke" / "vlm")
    for name in ("whole", "killed"):
        (tmp_path / f"{name}.yaml").write_text(SHORT.replace("NAME", name))
    train(tmp_path, *FIT, "--config", "whole.yaml")
    words = [*FIT, "--config", "killed.yaml"]
    process = subprocess.Popen(
        [sys.executable, "-m", "prismaudio", *words],
        cwd=tmp_path,
        stderr=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    while process.poll() is None and not list((tmp_path / "killed").rglob("step=8.ckpt")):
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    (begun,) = (tmp_path / "killed").rglob("step=8.ckpt")
    train(tmp_path, *words, "--ckpt_path", str(begun))
    whole, resumed = (model(tmp_path / name / "model") for name in ("whole", "killed"))
    assert whole == resumed
    train(tmp_path, "export", str(begun), "exported")  # of the middle
    assert len(model(tmp_path / "exported")) == len(whole) != 0
    assert model(tmp_path / "exported") != whole


def model(folder: Path) -> bytes:
    """The weights of an exported planner."""
    return (folder / "planner" / "model.safetensors").read_bytes()
