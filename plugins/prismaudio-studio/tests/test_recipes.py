"""Every recipe of the studio parses; every smoke recipe trains."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from recipe_runs import check_first_line, check_resuming, logged, printed, train

from prismaudio.pretrained import load_parts
from prismaudio.registry import discover

RECIPES = {
    entry.name: Path(str(entry.item))
    for entry in discover().entries
    if entry.kind == "recipes" and entry.plugin.distribution == "prismaudio-studio"
}
STAGES = ("codec", "planner", "studio-foundation", "studio-fast_grpo", "lora")
"""The smoke recipes, in the order of their dependencies."""


def test_all_recipes_are_registered() -> None:
    names = {*(f"smoke/{stage}" for stage in STAGES), "fast_grpo/studio"}
    assert set(RECIPES) == names | {
        f"studio/{name}"
        for name in (
            *("codec", "codec_recorded", "planner", "llm_planner", "foundation", "cot", "cot_grid", "validate"),
            *("families_codec", "families_foundation", "families_planner", "families_footage"),
        )
    }


@pytest.mark.parametrize("name", RECIPES)
def test_it_parses_and_begins_with_a_description(name, capsys) -> None:
    check_first_line(RECIPES[name])
    assert printed(capsys, name)["model"]["class_path"].startswith("prismaudio")


def test_the_plan_grid_is_all_that_cot_grid_changes(capsys) -> None:
    plain, grid = printed(capsys, "studio/cot"), printed(capsys, "studio/cot", "studio/cot_grid")
    model = grid["model"]["init_args"]
    for streams in (model["transformer"]["init_args"]["streams"], model["encoders"]):
        del streams["plan"]
    assert grid == plain


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> Path:
    """A folder with the results of every smoke recipe."""
    folder: Path = tmp_path_factory.mktemp("smoke")
    for stage in STAGES:
        train(folder, "fit", "--config", f"smoke/{stage}")
    return folder


@pytest.mark.slow
def test_every_smoke_recipe_trains(trained) -> None:
    assert {path.name for path in (trained / "runs" / "smoke").iterdir()} >= {"lora-model", "clips"}
    made = trained / "runs" / "smoke" / "lora-model"
    adapter, model = made / "adapter.safetensors", made / "model.safetensors"
    assert adapter.stat().st_size < model.stat().st_size / 4


@pytest.mark.slow
def test_the_foundation_stage_lowers_its_loss_and_resumes_to_identical_numbers(trained) -> None:
    recipe = yaml.safe_load(RECIPES["smoke/studio-foundation"].read_text())
    (run,) = (trained / recipe["trainer"]["default_root_dir"]).glob("version_*")
    words = ["--trainer.logger.save_dir", "untrained", "--trainer.callbacks=null"]
    train(trained, "validate", "--config", "smoke/studio-foundation", *words)
    (untrained,) = logged(trained / "untrained" / "version_0", "val_loss")
    losses = logged(run, "val_loss")
    assert losses[-1] < min(losses[0], 0.87 * untrained)
    check_resuming(trained, run, "smoke/studio-foundation", load_parts)
