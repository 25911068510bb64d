"""Two processes with DDP and with FSDP2 train what one process trains; sharded checkpoints resume and consolidate."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest
import torch
from two_processes import run_together

from prismaudio.checkpoints import load_components

SCRIPT = Path(__file__).with_name("runs.py")

pytestmark = pytest.mark.slow


def load_runs():
    spec = importlib.util.spec_from_file_location("distributed_runs", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Where two processes, started once, left what they made."""
    folder = tmp_path_factory.mktemp("two")
    run_together(SCRIPT, folder)
    return folder


@pytest.fixture(scope="module")
def made(folder):
    return torch.load(folder / "made.pt", weights_only=True)


@pytest.fixture(scope="module")
def one(tmp_path_factory):
    return load_runs().fit(tmp_path_factory.mktemp("one"), devices=1)


@pytest.mark.parametrize("strategy", ["ddp", "fsdp"])
def test_two_processes_train_what_one_trains(made, one, strategy):
    assert made[strategy].keys() == one.keys()
    for name, expected in one.items():
        # AdamW makes of rounding in a gradient near zero a step of any size up to the learning rate, 1e-3
        difference = (made[strategy][name] - expected).abs().max()
        assert difference < 2e-5 + 1e-4 * expected.abs().max(), f"{strategy}: {name} differs by {difference}"


@pytest.mark.parametrize(("sharded", "resumed"), [("fsdp", "resumed"), ("align_fsdp", "align_resumed")])
def test_a_sharded_run_resumes_to_identical_numbers(made, sharded, resumed):
    for name, expected in made[sharded].items():
        assert torch.equal(made[resumed][name], expected), name


@pytest.mark.parametrize("kind", ["align_ddp", "align_fsdp", "align_split", "align_lora"])
def test_two_processes_post_train_what_one_does(made, tmp_path, kind):
    runs = load_runs()
    alone = runs.align(tmp_path, devices=1, options=runs.ADAPTED if kind == "align_lora" else None)
    assert made[kind].keys() == alone.keys()
    for name, expected in alone.items():
        difference = (made[kind][name] - expected).abs().max()
        assert difference < 2e-5 + 1e-3 * expected.abs().max(), f"{kind}: {name} differs by {difference}"


def test_where_a_reward_fails_in_one_process_none_waits(made):
    assert made["complaints"] == [
        "a reward failed in another process, whose error names the clip", "clip 3 has no frames",
    ]  # fmt: skip


def test_the_export_is_whole_and_has_the_averages(made, folder):
    for strategy in ("ddp", "fsdp"):
        exported = load_components(folder / strategy / "model")["transformer"].state_dict()
        for name, weight in exported.items():
            key = name.replace(".", "/")
            assert torch.equal(weight, made[strategy][f"transformer/{key}"]), name
    assert sorted(path.suffix for path in (folder / "fsdp" / "listening").rglob("*rendered*2.*")) == [
        ".png", ".txt", ".wav",
    ]  # fmt: skip


def test_a_sharded_checkpoint_consolidates(made, folder, monkeypatch):
    from prismaudio.training.consolidation import load_weights

    task = load_runs().task()
    weights = load_weights(folder / "fsdp" / f"step={load_runs().STEPS}.ckpt")
    task.load_state_dict({k: v for k, v in weights.items() if not k.startswith("average.")})
    for name, weight in task.transformer.state_dict().items():
        assert torch.equal(weight, made["fsdp"][name]), name
    assert torch.equal(weights["average.transformer/project_in/weight"], made["fsdp"]["transformer/project_in/weight"])
