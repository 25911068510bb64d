"""Somebody trains twice, builds on a shipped recipe, mistypes, and looks at what was logged."""

from __future__ import annotations

import csv

import pytest

pytestmark = pytest.mark.slow

FIT = (
    "prismaudio fit --config smoke/foundation --trainer.max_steps 2 --trainer.val_check_interval 2 "
    "--trainer.default_root_dir runs --trainer.logger.save_dir runs"
)


def metrics(file):
    with file.open(newline="") as opened:
        return {name for row in csv.DictReader(opened) for name, value in row.items() if value}


def test_two_runs_lie_side_by_side_with_their_models_and_tables(shell, folder):
    for _ in range(2):
        shell(f"{FIT.replace('runs', 'two')} --config <(echo 'trainer: {{callbacks: [ExportComponents]}}')")
    versions = sorted(path.name for path in (folder / "two").glob("version_*"))
    assert versions == ["version_0", "version_1"]
    for version in versions:
        run = folder / "two" / version
        assert (run / "model" / "model.safetensors").is_file()
        assert "lr" in (run / "hparams.yaml").read_text()


def test_a_model_of_another_run_is_kept(shell, folder):
    export = "--config <(echo 'trainer: {callbacks: [{class_path: ExportComponents, init_args: {folder: kept}}]}')"
    shell(f"{FIT} {export}")
    before = (folder / "kept/model.safetensors").read_bytes()
    said = shell(f"{FIT} {export} --seed_everything 9")
    assert "kept.1" in said
    assert (folder / "kept.1/model.safetensors").read_bytes() == before


def test_fast_grpo_logs_what_one_monitors(shell, folder):
    shell(
        "prismaudio fit --config smoke/fast_grpo --trainer.max_steps 2 --trainer.default_root_dir grpo "
        "--trainer.logger.save_dir grpo --config <(echo 'trainer: {callbacks+: [{class_path: ModelCheckpoint, "
        "init_args: {monitor: val_reward, mode: max}}]}')"
    )
    logged = metrics(folder / "grpo/version_0/metrics.csv")
    assert {"val_reward", "reward_std", "grad_norm", "learning_rate", "reward/temporal", "clip_fraction"} <= logged
    assert list((folder / "grpo/version_0/checkpoints").glob("*.ckpt"))


def test_a_shipped_recipe_is_the_base_of_one_with_other_rewards(shell, folder, refused):
    none = {"PRISMAUDIO_DISABLE_PLUGINS": "msclap,synchformer,audiobox,stereocrw,laion-clap"}
    assert "prismaudio-msclap" in refused("prismaudio fit --config fast_grpo/recommended --print_config", **none)
    (folder / "mine.yaml").write_text(
        "model: {init_args: {rewards: {semantic: AestheticReward, temporal: TemporalReward, aesthetic: AestheticReward,"
        " spatial: SpatialReward}, scoring: {held_out: {}}, pretrained: studio}}\n"
    )
    printed = shell("prismaudio fit --config fast_grpo/recommended --config mine.yaml --print_config", **none)
    assert "MsClapReward" not in printed
    assert "SpatialReward" in printed


@pytest.mark.parametrize(
    ("words", "advice"),
    [
        ("--trainer.max_step 3", "max_steps"),
        ("--trainer.callbacks+=ExportComponent", "ExportComponents"),
    ],
)
def test_a_misspelt_option_is_one_line_that_names_the_right_one(refused, words, advice):
    assert advice in refused(f"prismaudio fit --config smoke/foundation {words}")


def test_optimizer_and_schedule_are_chosen_on_the_command_line(shell):
    said = shell(
        f"{FIT} --model.optimizer SGD --model.optimizer.lr 0.01 --model.lr_scheduler CosineWithWarmup "
        "--model.lr_scheduler.warmup_steps 50"
    )
    assert "warm" in said  # the warm-up is longer than the run


def test_stopping_on_a_metric_that_is_not_there_names_those_that_are(refused):
    error = refused(
        f"{FIT} --config <(echo 'trainer: {{callbacks: [{{class_path: EarlyStopping, "
        "init_args: {monitor: val_los}}]}')"
    )
    assert "val_loss" in error


def test_a_trained_model_is_shared_and_a_large_run_planned(shell, folder):
    shell(f"{FIT.replace('runs', 'shared')} --config <(echo 'trainer: {{callbacks: [ExportComponents]}}')")
    said = shell("prismaudio push shared/version_0/model me/mine --license mit --dry-run")
    assert "model.safetensors" in said
    assert "license: mit" in said
    shell("prismaudio recipes copy slurm.sbatch && bash -n slurm.sbatch")
    assert "GiB" in shell("prismaudio estimate smoke/foundation --gpu h100")
