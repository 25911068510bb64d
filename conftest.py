"""Options of all test sessions."""

import importlib.util
from pathlib import Path

import pytest

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
    """Leave out replays of kinds of golden files that a folder does not have, rather than report them as skipped."""
    empty = [
        item
        for item in items
        if any("empty parameter set" in str(mark.kwargs.get("reason")) for mark in item.iter_markers("skip"))
    ]
    if empty:
        config.hook.pytest_deselected(items=empty)
        items[:] = [item for item in items if item not in empty]
