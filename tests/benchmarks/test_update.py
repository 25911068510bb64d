"""The benchmark of an update of Fast-GRPO."""

from __future__ import annotations

import json

import pytest
import torch

from prismaudio.cli.main import main

SMALL = ["--size", "small", "--duration", "0.8", "--group-size", "4", "--rounds", "1", "--precision", "32-true"]


def test_the_phases_of_an_update_are_timed(tmp_path, capsys) -> None:
    figures = {}
    for size in (1, 3):
        out = tmp_path / f"{size}.json"
        argv = [*SMALL, "--clips", "3", "--rollout-batch-size", str(size), "--json", str(out), "--device", "cpu"]
        assert main(["bench", "update", *argv]) == 0
        figures[size] = json.loads(out.read_text())
    text = capsys.readouterr().out
    assert "3 clips of 0.8 s, 4 candidates each" in text
    alone, together = (found["rows"] for found in figures.values())
    assert list(together) == ["rollout", "decode", "rewards", "training", "update"]
    assert all(row["seconds"]["mean"] > 0 for row in together.values())
    assert together["rollout"]["forwards"]["mean"] < alone["rollout"]["forwards"]["mean"]
    assert together["rollout"]["evaluations"] == alone["rollout"]["evaluations"]
    # one stochastic step, which the candidates of a clip share, with gradients and by the reference model
    assert together["training"]["forwards"]["mean"] == 2
    assert together["training"]["evaluations"]["mean"] == 3 * (3 + 1)
    assert alone["training"]["forwards"]["mean"] == 3 * 2
    assert figures[3]["meta"]["rewards"] == "TemporalReward, AestheticReward, SpatialReward"


def test_what_cannot_be_measured_is_said(capsys) -> None:
    assert main(["bench", "update", *SMALL, "--rewards", "NoReward"]) == 2
    assert "no reward is named 'NoReward'" in capsys.readouterr().err
    assert main(["bench", "update", *SMALL, "--group-size", "1"]) == 2
    assert "group_size is 1; expected 2 or more" in capsys.readouterr().err


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_on_a_gpu_memory_is_measured_too(tmp_path) -> None:
    assert (
        main(["bench", "update", *SMALL, "--clips", "2", "--device", "cuda", "--json", str(tmp_path / "a.json")]) == 0
    )
    rows = json.loads((tmp_path / "a.json").read_text())["rows"]
    assert all(row["gpu_gib"]["mean"] > 0 for row in rows.values())
