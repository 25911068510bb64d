"""Two processes with DDP and with FSDP2 fine-tune what one process does; sharded checkpoints resume."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from two_processes import run_together

from prismaudio.checkpoints import load_components, loadable
from prismaudio.registry import discover
from prismaudio_vlm.reduced import save_reduced

from .tuning_runs import FULL, LORA, fit

SCRIPT = Path(__file__).with_name("tuning_runs.py")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Where two processes, started once, left what they made."""
    folder = tmp_path_factory.mktemp("two")
    save_reduced("qwen3_vl", folder / "reduced")
    run_together(SCRIPT, folder, timeout_s=600)
    return folder


@pytest.mark.parametrize(("name", "tuning"), [("lora", LORA), ("full", FULL)])
def test_two_processes_train_what_one_trains(name, tuning, folder, tmp_path):
    made = torch.load(folder / "made.pt", weights_only=True)
    one = fit(folder / "reduced", tmp_path, tuning)
    for strategy in ("ddp", "fsdp"):
        two = made[f"{name}_{strategy}"]
        assert two.keys() == one.keys()
        for key in one.keys() - {"train_loss", "val_loss"}:
            # AdamW makes of rounding in a gradient near zero a step of any size up to the learning rate, 1e-3
            difference = (two[key] - one[key]).abs().max()
            assert difference < 1e-4 + 1e-4 * one[key].abs().max(), f"{strategy}: {key} differs by {difference}"
        assert two["val_loss"] == pytest.approx(one["val_loss"].item(), rel=0.02)  # of batches of other clips
    assert made[f"{name}_ddp"]["val_loss"] == pytest.approx(made[f"{name}_fsdp"]["val_loss"].item(), rel=1e-4)
    for key, value in made[f"{name}_fsdp"].items():
        torch.testing.assert_close(made[f"{name}_resumed"][key], value, rtol=0, atol=0)


@pytest.mark.parametrize("name", ["lora", "full"])
def test_a_sharded_run_writes_plans_and_exports_the_same_model(name, folder):
    plans = [(folder / f"{name}_{strategy}" / "plans" / "step0000004.md").read_text() for strategy in ("ddp", "fsdp")]
    assert plans[0].startswith("**click-0-0**")
    assert plans[0] == plans[1]
    ddp, fsdp = (
        load_components(folder / f"{name}_{strategy}" / "model", loadable(discover().components()))["planner"]
        for strategy in ("ddp", "fsdp")
    )
    ddp._load()
    fsdp._load()
    for key, value in ddp._network.state_dict().items():
        torch.testing.assert_close(fsdp._network.state_dict()[key], value, rtol=1e-3, atol=1e-4)
