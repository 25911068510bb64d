"""``prismaudio estimate``: what it counts is what training takes."""

from __future__ import annotations

import json

import pytest
import yaml
from torch.profiler import profile

from prismaudio.cli import fit
from prismaudio.cli.main import main

TRANSFORMER = {
    "class_path": "DiffusionTransformer",
    "init_args": {
        "latent_channels": 8,
        "dim": 256,
        "depth": 3,
        "num_heads": 4,
        "streams": {
            "video": {
                "class_path": "FeatureConditioner",
                "init_args": {"dim": 4, "token_dim": 256, "cross_attended": True, "additive": True},
            }
        },
    },
}
AVERAGE = {"class_path": "ExponentialMovingAverage"}


def estimated(capsys, *options):
    capsys.readouterr()
    code = main(["estimate", *options, "--peak-tflops", "1", "--json"])
    out, err = capsys.readouterr()
    assert code == 0, err
    return json.loads(out)


def measured(*options):
    """Peak bytes of tensors in a training run, as the allocator of the CPU reports them."""
    with profile(profile_memory=True) as profiled:
        fit.run("fit", [*options, "--trainer.enable_progress_bar", "false", "--trainer.logger", "false"])
    live = peak = 0
    events = (event for event in profiled.profiler.kineto_results.events() if event.name() == "[memory]")
    for event in sorted(events, key=lambda event: event.start_ns()):
        live += event.nbytes()
        peak = max(peak, live)
    return peak


def overlay(folder, model, batch_size, duration_s, callbacks=(AVERAGE,)):
    path = folder / "larger.yaml"
    trainer = {"max_steps": 2, "limit_val_batches": 0, "default_root_dir": str(folder), "callbacks": list(callbacks)}
    data = {
        "class_path": "SyntheticDataModule",
        "init_args": {"count": 2 * batch_size, "batch_size": batch_size, "duration_s": duration_s},
    }
    recipe = {"model": {"init_args": {"transformer": TRANSFORMER, **model}}, "trainer": trainer, "data": data}
    path.write_text(yaml.safe_dump(recipe))
    return str(path)


CASES = {
    "foundation": ("smoke/foundation", {"metrics": {}}, 8, 4.0),
    "foundation, recomputed": ("smoke/foundation", {"metrics": {}, "gradient_checkpointing": True}, 8, 4.0),
    "Fast-GRPO": (
        "smoke/fast_grpo",
        {
            "rewards": {"aesthetic": "AestheticReward"},
            "scoring": {"cache": None, "weights": {}, "held_out": {}},
            "policy": {"kl_coef": 0.1},
        },
        2,
        1.0,
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_peak_memory_is_that_of_training(case, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    recipe, model, batch_size, duration_s = CASES[case]
    options = ["--config", recipe, "--config", overlay(tmp_path, model, batch_size, duration_s)]
    found = estimated(capsys, *options)
    tensors = found["peak_bytes"] - found["memory_bytes"]["context and libraries"]
    peak = measured(*options)
    assert tensors == pytest.approx(peak, rel=0.15)
