"""Options of all test sessions."""

import importlib.util
from pathlib import Path

import pytest
import torch

pytest.register_assert_rewrite("reward_checks", "kept_plans", "recipe_runs", "stages")

collect_ignore = [] if importlib.util.find_spec("prismaudio_studio") else ["benchmarks/rl_benchmark/studio.py"]
"""What imports a plugin that is not installed."""


def pytest_addoption(parser: pytest.Parser) -> None:
    """Define ``--parity-dir``."""
    parser.addoption(
        "--parity-dir",
        type=Path,
        help="folder of golden files to replay, with everything below it; by default the copies beside the tests",
    )


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Skip tests that need a GPU where there is none; leave out replays of kinds of golden files that are not there."""
    if (gpu := [item for item in items if item.get_closest_marker("gpu")]) and not torch.cuda.is_available():
        for item in gpu:
            item.add_marker(pytest.mark.skip("needs a CUDA device"))
    empty = [
        item
        for item in items
        if any("empty parameter set" in str(mark.kwargs.get("reason")) for mark in item.iter_markers("skip"))
    ]
    if empty:
        config.hook.pytest_deselected(items=empty)
        items[:] = [item for item in items if item not in empty]
