"""Somebody trains twice, builds on a shipped recipe, mistypes, looks at what was logged, and shares the model."""

from __future__ import annotations

import csv

import pytest

pytestmark = pytest.mark.slow

FIT = (
    "prismaudio fit --config smoke/foundation --trainer.max_steps 2 --trainer.val_check_interval 2 "
    "--trainer.default_root_dir runs --trainer.logger.save_dir runs"
)


def exporting(where):
    return f"--config <(echo 'trainer: {{callbacks: [{{class_path: ExportComponents, init_args: {where}}}]}}')"


def test_runs_lie_side_by_side_and_their_model_is_shared(shell, folder):
    slow = "--model.lr_scheduler CosineWithWarmup --model.lr_scheduler.warmup_steps 50"
    assert "warm" in shell(f"{FIT} {slow} {exporting('{}')}")  # the warm-up is longer than the run
    shell(f"{FIT} {exporting('{}')}")
    assert sorted(path.name for path in (folder / "runs").glob("version_*")) == ["version_0", "version_1"]
    for version in ("version_0", "version_1"):
        run = folder / "runs" / version
        assert (run / "model" / "model.safetensors").is_file()
        assert "lr" in (run / "hparams.yaml").read_text()
    kept = (folder / "runs/version_0/model/model.safetensors").read_bytes()
    said = shell(f"{FIT} --seed_everything 9 {exporting('{folder: runs/version_0/model}')}")
    assert "model.1" in said
    assert (folder / "runs/version_0/model.1/model.safetensors").read_bytes() == kept
    said = shell("prismaudio push runs/version_1/model me/mine --license mit --dry-run")
    assert "model.safetensors" in said
    assert "license: mit" in said


def test_fast_grpo_logs_what_one_monitors(shell, folder):
    shell(
        "prismaudio fit --config smoke/fast_grpo --trainer.max_steps 2 --trainer.default_root_dir grpo "
        "--trainer.logger.save_dir grpo --config <(echo 'trainer: {callbacks+: [{class_path: ModelCheckpoint, "
        "init_args: {monitor: val_reward, mode: max}}]}')"
    )
    with (folder / "grpo/version_0/metrics.csv").open(newline="") as opened:
        logged = {name for row in csv.DictReader(opened) for name, value in row.items() if value}
    assert {"val_reward", "reward_std", "grad_norm", "learning_rate", "reward/temporal", "clip_fraction"} <= logged
    assert list((folder / "grpo/version_0/checkpoints").glob("*.ckpt"))


def test_a_shipped_recipe_is_the_base_of_one_with_other_rewards(shell, folder):
    (folder / "mine.yaml").write_text(
        "model: {init_args: {rewards: {semantic: AestheticReward, temporal: TemporalReward, aesthetic: AestheticReward,"
        " spatial: SpatialReward}, scoring: {held_out: {}}, pretrained: studio}}\n"
    )
    printed = shell(
        "prismaudio fit --config fast_grpo/recommended --config mine.yaml --print_config",
        PRISMAUDIO_DISABLE_PLUGINS="msclap,synchformer,audiobox,stereocrw,laion-clap",
    )
    assert "MsClapReward" not in printed
    assert "SpatialReward" in printed


def test_a_misspelt_option_is_one_line_that_names_the_right_one(refused):
    assert "max_steps" in refused("prismaudio fit --config smoke/foundation --trainer.max_step 3")


def test_a_large_run_is_planned(shell):
    shell("prismaudio recipes copy slurm.sbatch && bash -n slurm.sbatch")
    assert "GiB" in shell("prismaudio estimate smoke/foundation --gpu h100")
