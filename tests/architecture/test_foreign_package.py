"""A package of somebody else's, built and installed beside the core, takes part in everything."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from environments import ROOT, fresh_environment, run
from safetensors.torch import load_file

FOREIGN = Path(__file__).with_name("foreign")

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def environment(tmp_path_factory):
    return fresh_environment(tmp_path_factory.mktemp("foreign"), ROOT, FOREIGN)


@pytest.fixture(scope="module")
def found(environment, tmp_path_factory):
    """What ``use.py`` found."""
    folder = tmp_path_factory.mktemp("used")
    return json.loads(run(environment / "python", FOREIGN / "use.py", folder).splitlines()[-1]) | {"folder": folder}


def test_everything_that_it_brings_is_listed(found):
    rows = {row["name"]: row for row in found["listed"]}
    assert {row["kind"] for row in rows.values()} == {
        *("dimensions", "encoders", "conditioners", "rewards", "planners"),
        *("data_modules", "tasks", "training_parts", "recipes"),
    }
    flow = rows["FlowEncoder"]
    assert (flow["stream"], flow["dim"], flow["rate_hz"]) == ("flow", 4, 8.0)
    assert {row["status"] for row in rows.values()} == {"ok"}


def test_a_model_with_its_stream_is_saved_and_loaded_and_listens_to_it(found):
    assert found["streams"] == ["video", "flow"]
    assert found["flow counts"]


def test_its_features_are_extracted_and_trained_on(found):
    assert set(found["extracted"]) == {"video", "flow"}
    assert found["extracted"]["flow"]["class"] == "prismaudio_tempo.flow:FlowEncoder"


def test_a_task_of_its_own_is_averaged_and_exported(found):
    assert {path.name for path in (found["folder"] / "regression").iterdir()} == {"config.json", "model.safetensors"}


def test_its_planner_is_trained_and_writes_its_dimension(found):
    assert "<Tempo>" in found["planned"]
    assert "events." in found["plan"]["tempo"]


def test_its_dimension_is_scored_and_post_trained(found):
    assert found["score"]["value"] <= 0
    rewards = found["rewards"]
    quarter = len(rewards) // 4
    assert sum(rewards[-quarter:]) > sum(rewards[:quarter]) + 0.5 * quarter


def test_two_processes_equal_one(environment, tmp_path):
    whole, half = tmp_path / "whole", tmp_path / "half"
    words = "fit", "--config", "tempo/foundation", "--trainer.callbacks.folder"
    run(environment / "prismaudio", *words, whole)
    run(
        *(environment / "torchrun", "--standalone", "--nproc-per-node", "2", "-m", "prismaudio", *words, half),
        *("--data.batch_size", "2", "--trainer.devices", "2", "--trainer.strategy", "ddp"),
    )
    one, two = (load_file(folder / "model.safetensors") for folder in (whole, half))
    assert one.keys() == two.keys()
    for name, value in one.items():
        assert (value - two[name]).abs().max() <= 1e-5, name
