"""Two processes that share the clips measure what one measures that has all of them."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest
import torch
from two_processes import run_together

SCRIPT = Path(__file__).with_name("metric_runs.py")


def load_runs():
    spec = importlib.util.spec_from_file_location("distributed_metric_runs", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.slow
def test_two_processes_measure_what_one_measures(tmp_path):
    run_together(SCRIPT, tmp_path, timeout_s=300)
    runs = load_runs()
    alone = runs.measured(slice(None))
    for rank in range(2):
        together = torch.load(tmp_path / f"{rank}.pt", weights_only=True)
        assert together.keys() == alone.keys()
        for name, expected in alone.items():
            assert torch.allclose(together[name], expected, rtol=1e-9), name
