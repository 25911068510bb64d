from __future__ import annotations

import json

import pytest
import torch
from streams import streams

from prismaudio.autoencoders.oobleck import OobleckAutoencoder
from prismaudio.benchmarks import speed
from prismaudio.benchmarks.speed import ModelSpeed
from prismaudio.cli.main import main
from prismaudio.models.dit import DiffusionTransformer


@pytest.fixture(scope="module", autouse=True)
def _small_products():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(speed, "MATMUL", 256)
        yield


@pytest.fixture(scope="module")
def report():
    torch.manual_seed(0)
    transformer = DiffusionTransformer(64, 64, 2, 1, streams(64, video=8, sync=16, text=8))
    autoencoder = OobleckAutoencoder(width=2, multipliers=(1, 2), strides=(8, 8))
    seen: list[str] = []
    report = ModelSpeed(duration_s=0.5, steps=3, rounds=2).run(transformer, autoencoder, seen.append)
    assert seen[0] == "fp32 x1 matmul, warm-up"
    assert {"fp32 matmul", "fp32 eager velocity", "bf16 decode"} <= set(seen)
    return report


def test_every_row_is_timed_in_every_round(report) -> None:
    names = ["matmul", "eager velocity", "velocity", "3 steps", "12 Adams-Bashforth steps", "decode"]
    assert list(report.values) == [f"{precision} {name}" for precision in ("fp32", "bf16") for name in names]
    assert all(len(row["seconds"]) == 2 and min(row["seconds"]) > 0 for row in report.values.values())


def test_rates_are_work_over_time(report) -> None:
    velocity = report.values["fp32 velocity"]
    gflop = velocity["gflop_per_s"][0] * velocity["seconds"][0]
    # a multiplication and an addition in two blocks of width 64, for two halves of 345 frames and a time token:
    # the weights (attention 3 + 1, cross-attention 1 + 1, feed-forward 8 + 4), and two products with all tokens
    tokens, context = 346, 2 + 160
    products = tokens * 18 * 64 * 64 + 2 * tokens * (tokens + context) * 64
    assert gflop == pytest.approx(2 * 2 * 2 * products / 1e9, rel=0.1)
    share = velocity["gflop_per_s"][0] / report.values["fp32 matmul"]["gflop_per_s"][0]
    assert velocity["share_of_peak"][0] == pytest.approx(share)
    assert report.values["fp32 eager velocity"]["speed_over_eager"] == [1.0, 1.0]
    assert report.meta["peak_memory_gib"] > 0
    assert velocity["ms_per_clip"][0] == pytest.approx(1000 * velocity["seconds"][0])


def test_differences_from_float32_are_measured(report) -> None:
    assert report.values["fp32 velocity"]["relative_rms"] == [0.0, 0.0]
    assert report.values["fp32 eager velocity"]["relative_rms"][0] < 1e-5
    assert 1e-4 < report.values["bf16 velocity"]["relative_rms"][0] < 0.1
    assert report.values["bf16 decode"]["peak_db"] == [0.0, 0.0]


def test_clips_are_generated_together() -> None:
    transformer = DiffusionTransformer(64, 64, 2, 1, streams(64, video=8, sync=16, text=8))
    autoencoder = OobleckAutoencoder(width=2, multipliers=(1, 2), strides=(8, 8))
    three = ModelSpeed(duration_s=0.5, steps=2, rounds=1, batches=(1, 3), precisions=("fp32",))
    rows = three.run(transformer, autoencoder).values
    three = rows["fp32 velocity x3"]
    assert three["ms_per_clip"][0] == pytest.approx(1000 * three["seconds"][0] / 3)
    gflop = {name: rows[name]["gflop_per_s"][0] * rows[name]["seconds"][0] for name in rows if "velocity" in name}
    assert gflop["fp32 velocity x3"] == pytest.approx(3 * gflop["fp32 velocity"])


def test_the_command_times_an_installed_model(tiny_plugin, tmp_path, capsys) -> None:
    out = tmp_path / "speed.json"
    argv = ["--model", "tiny", "--duration", "1", "--no-clip", "--rounds", "1", "--precision", "fp32"]
    assert main(["bench", "model", *argv, "--json", str(out)]) == 0
    told = json.loads(out.read_text())
    assert set(told["rows"]) == {"fp32 matmul", "fp32 eager velocity", "fp32 velocity"}
    assert "fp32 velocity" in capsys.readouterr().out


def test_a_missing_device_is_reported(capsys) -> None:
    assert main(["bench", "model", "--device", "cuda:99"]) == 2
    assert "is not available" in capsys.readouterr().err
