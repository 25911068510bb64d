"""The training benchmark measures what it says, in one process and in two."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest
import torch
from streams import streams

from prismaudio.cli.main import main
from prismaudio.models.dit import DiffusionTransformer
from prismaudio.training.speed import TrainingSpeed, training_flop

pytestmark = pytest.mark.filterwarnings("ignore:Total length of `list`")
SIZES = {"video": 8, "sync": 16, "text": 8}


def network() -> DiffusionTransformer:
    return DiffusionTransformer(64, 64, 2, 1, streams(64, **SIZES))


@pytest.fixture(scope="module")
def measured():
    options = {"batch_size": 2, "duration_s": 1.0, "steps": 3, "rounds": 2, "warmup": 1, "side": 64}
    speed = TrainingSpeed(network, short=0.3, n_kernels=3, **options)
    return speed, speed.run()


def test_every_row_is_measured_in_every_round(measured):
    report = measured[1]
    assert list(report.values) == ["matmul", "step", "forward and backward", "optimizer", "data"]
    assert all(len(row["seconds"]) == 2 and min(row["seconds"]) > 0 for row in report.values.values())
    rows = (report.values[row]["seconds"] for row in ("step", "forward and backward", "optimizer"))
    for step, passes, optimizer in zip(*rows, strict=True):
        assert passes + optimizer <= step  # the rest is Lightning's


def test_rates_are_work_over_time(measured):
    speed, report = measured
    step, peak = report.values["step"], report.values["matmul"]
    assert len(speed.meter.shapes) == 6
    with torch.device("meta"):
        twin = network()
    flop = sum(training_flop(twin, shape) for shape in speed.meter.shapes) / 6
    for turn in range(2):
        rate = flop / step["seconds"][turn] / 1e12
        assert step["tflop_per_s"][turn] == pytest.approx(rate)
        assert step["share_of_peak"][turn] == pytest.approx(rate / peak["tflop_per_s"][turn])
        assert step["clips_per_s"][turn] == pytest.approx(2 / step["seconds"][turn])
    assert report.meta["tflop_per_step"] == round(flop / 1e12, 3)
    assert 0 < report.meta["padded_features"] < 0.5
    assert report.meta["peak_memory_gib"] > 0
    assert len(report.meta["kernels"]) == 3
    assert 0 < sum(report.meta["kernels"].values()) <= 1


def test_the_work_is_that_of_three_forwards_but_for_the_first_layers():
    shape = (3, 21, (("video", 4), ("sync", 24), ("text", 100)), False)
    with torch.device("meta"):
        twin = network()
    # a block: attention 3 + 1, cross-attention 1 + 1 and 2 of its context, feed-forward 8 + 4; two products of tokens
    tokens, context, square = 22, 104, 64 * 64
    block = (18 * tokens + 2 * context) * square + 2 * tokens * (tokens + context) * 64
    streams = (4 + 24 + 100 + 2 * context + 2 * 4 + 2 * 21) * square  # conditioners, context, streams added in time
    assert training_flop(twin, shape) == pytest.approx(
        3 * 2 * 3 * (2 * block + streams + 4 * tokens * square), rel=0.02
    )
    assert training_flop(twin, (6, *shape[1:])) == 2 * training_flop(twin, shape)


def test_the_command_measures(tmp_path, capsys):
    out = tmp_path / "train.json"
    argv = ["--reduced", "--device", "cpu", "--duration", "1", "--steps", "1", "--rounds", "1", "--warmup", "1"]
    assert main(["bench", "train", *argv, "--no-ema", "--kernels", "2", "--json", str(out)]) == 0
    report = json.loads(out.read_text())
    assert report["rows"]["matmul"]["share_of_peak"]["mean"] == 1
    assert report["meta"]["precision"] == "32-true"
    assert "forward and backward" in capsys.readouterr().out


def test_a_device_that_is_not_measured_is_reported(capsys):
    assert main(["bench", "train", "--device", "cuda:99"]) == 2
    assert "is not available" in capsys.readouterr().err


@pytest.mark.slow
def test_two_processes_are_measured_together(tmp_path):
    out = tmp_path / "train.json"
    options = ["--reduced", "--device", "cpu", "--devices", "2", "--duration", "1", "--steps", "2", "--rounds", "1"]
    run = subprocess.run(
        [sys.executable, "-m", "prismaudio", "bench", "train", *options, "--json", str(out)],
        env=os.environ | {"OMP_NUM_THREADS": "1"}, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert run.returncode == 0, run.stderr[-2000:]
    report = json.loads(out.read_text())
    assert report["meta"]["devices"] == 2
    step = {name: cell["mean"] for name, cell in report["rows"]["step"].items()}
    assert step["clips_per_s"] == pytest.approx(2 * step["steps_per_s"], rel=1e-3)
    assert run.stdout.count("forward and backward") == 1
