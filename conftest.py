"""Options of all test sessions."""

from pathlib import Path

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    """Define ``--parity-dir``."""
    parser.addoption(
        "--parity-dir",
        type=Path,
        default=Path(__file__).parent / "tests/golden/data",
        help="folder of golden files (dit_*, vae_*, schedules*) that tests/golden replays",
    )
